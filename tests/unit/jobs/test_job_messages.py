"""The messages for SNS: SageMaker's fields, the right topic, and what boto3 says when it fails."""

import json

import pytest
from botocore.exceptions import ClientError

from server.domain.errors import StoreUnavailable
from server.jobs.notify import Silence, SnsTopics, Topic, message
from server.jobs.outcome import Ended, Outcome, Status
from server.store.threads import StoreThreads
from tests.unit.jobs.job_fakes import job

SUCCESS = Topic.read("arn:aws:sns:eu-west-1:123456789012:good")
ERROR = Topic.read("arn:aws-cn:sns:cn-north-1:123456789012:bad.fifo")
COMPLETED = Ended(job(), Outcome(Status.COMPLETED, "image/png"), 1_800_000_001.25)
FAILED = Ended(job(body=b"x"), Outcome(Status.FAILED, "application/json", "why"), 1_800_000_001.25)


class Client:
    def __init__(self, region):
        self.region, self.sent, self.is_closed, self.fault = region, [], False, None

    def publish(self, **arguments):
        if self.fault:
            raise self.fault
        self.sent.append(arguments)

    def close(self):
        self.is_closed = True


@pytest.fixture
async def threads():
    threads = StoreThreads(checks=1, transfers=1)
    yield threads
    await threads.close()


def test_a_completed_job_s_message():
    assert json.loads(message(COMPLETED, "eu-west-1")) == {
        "awsRegion": "eu-west-1",
        "eventTime": "2027-01-15T08:00:01.250Z",
        "receivedTime": "2027-01-15T08:00:00.000Z",
        "invocationStatus": "Completed",
        "requestParameters": {"endpointName": "endpoint", "inputLocation": "s3://in/x.json"},
        "responseParameters": {"contentType": "image/png", "outputLocation": "s3://out/results/i.out"},
        "inferenceId": "i",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def test_a_failed_job_s_message():
    told = json.loads(message(FAILED, "eu-west-1"))
    assert (told["invocationStatus"], told["failureReason"]) == ("Failed", "why")
    assert told["requestParameters"] == {"endpointName": "endpoint"}
    assert told["responseParameters"]["failureLocation"] == "s3://out/failures/i-error.out"


async def test_each_outcome_has_its_topic_in_its_region(threads):
    clients = {}
    topics = SnsTopics(lambda region: clients.setdefault(region, Client(region)), SUCCESS, ERROR, threads)
    await topics.tell(COMPLETED)
    await topics.tell(FAILED)
    topics.close()
    assert [sent["TopicArn"] for sent in clients["eu-west-1"].sent] == [SUCCESS.arn]
    assert [sent["TopicArn"] for sent in clients["cn-north-1"].sent] == [ERROR.arn]
    assert all(client.is_closed for client in clients.values())


async def test_a_missing_topic_is_silence(threads):
    clients = {}
    topics = SnsTopics(lambda region: clients.setdefault(region, Client(region)), SUCCESS, None, threads)
    await topics.tell(FAILED)
    assert clients["eu-west-1"].sent == []
    await Silence().tell(COMPLETED)
    Silence().close()


async def test_what_boto3_says_is_told_in_our_words(threads):
    client = Client("eu-west-1")
    client.fault = ClientError({"Error": {"Code": "NotFound", "Message": "no topic"}}, "Publish")
    with pytest.raises(StoreUnavailable, match=r"good cannot be published to: .*no topic"):
        await SnsTopics(lambda _region: client, SUCCESS, None, threads).tell(COMPLETED)


@pytest.mark.parametrize("arn", ["", "topic", "arn:aws:sqs:eu-west-1:123456789012:x", "arn:aws:sns:eu-west-1:1:x"])
def test_what_is_no_topic_is_refused(arn):
    with pytest.raises(ValueError, match="not an SNS topic"):
        Topic.read(arn)
