"""Objects in S3: limits, types, who wrote them, and what botocore says told as whose fault it is."""

import io

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from server.domain.errors import InvalidRequest, StoreUnavailable
from server.jobs.assembly import assemble
from server.jobs.locations import S3Location
from server.jobs.object_store import S3Objects
from server.jobs.options import AsyncOptions
from server.jobs.ports import Fetched, Written
from tests.fakes.clock import FakeClock
from tests.unit.jobs.job_fakes import InlineThreads, Road

WHERE = S3Location("b", "k")


class Client:
    """As much of an S3 client as is asked for; `fault` is raised by every call."""

    def __init__(self, objects=None, fault=None):
        self.objects, self.fault = objects or {}, fault

    def get_object(self, Bucket, Key):  # noqa: N803 - boto3's names
        return self._found(Bucket, Key)

    def head_object(self, Bucket, Key):  # noqa: N803
        return self._found(Bucket, Key)

    def put_object(self, Bucket, Key, Body, ContentType, Metadata):  # noqa: N803
        self._step()
        content = {"Body": io.BytesIO(Body), "ContentLength": len(Body), "ContentType": ContentType}
        self.objects[Bucket, Key] = {**content, "Metadata": Metadata}

    def close(self):
        self.fault = AssertionError("it is closed")

    def _found(self, bucket, key):
        self._step()
        if (bucket, key) not in self.objects:
            raise refused("404", 404)
        return self.objects[bucket, key]

    def _step(self):
        if self.fault:
            raise self.fault


def refused(code, status=400):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Any")


def objects(client, limit=10):
    return S3Objects(lambda: client, InlineThreads(), limit)


async def test_what_was_written_is_read_with_its_type_and_its_writer():
    there = objects(Client())
    assert await there.written(WHERE) is None
    await there.put(WHERE, (b"01234", memoryview(b"56789")), "a/b", "job")
    assert await there.written(WHERE) == Written("job", "a/b")
    assert await there.get(WHERE) == Fetched(b"0123456789", "a/b")
    there.close()


async def test_an_object_of_no_type_and_of_nobody():
    content = {"Body": io.BytesIO(b""), "ContentLength": 0, "ContentType": "binary/octet-stream"}
    there = objects(Client({("b", "k"): content}))
    assert await there.get(WHERE) == Fetched(b"", "")
    assert await there.written(WHERE) == Written("", "binary/octet-stream")


async def test_a_payload_over_the_limit_is_not_read():
    there = objects(Client(), limit=3)
    await there.put(WHERE, (b"0123",), "a/b", "job")
    with pytest.raises(InvalidRequest, match="s3://b/k is larger than the limit of 3 bytes"):
        await there.get(WHERE)


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (refused("NoSuchKey", 404), InvalidRequest, "payload s3://b/k does not exist"),
        (refused("NoSuchBucket", 404), InvalidRequest, "payload s3://b/k does not exist"),
        (refused("AccessDenied", 403), InvalidRequest, "may not be read .AccessDenied.: check the credentials"),
        (refused("SlowDown", 503), StoreUnavailable, "cannot be read: S3 answered 503 SlowDown"),
        (NoCredentialsError(), StoreUnavailable, "found no credentials"),
        (EndpointConnectionError(endpoint_url="http://x"), StoreUnavailable, "cannot be read: EndpointConnection"),
        (ConnectionResetError("broken"), StoreUnavailable, "ConnectionResetError: broken"),
    ],
)
async def test_a_payload_that_cannot_be_read_is_told_as_whose_fault_it_is(fault, kind, told):
    with pytest.raises(kind, match=told):
        await objects(Client(fault=fault)).get(WHERE)


@pytest.mark.parametrize("code", ["NoSuchBucket", "AccessDenied", "SlowDown"])
async def test_what_cannot_be_written_or_asked_may_pass(code):
    there = objects(Client(fault=refused(code)))
    with pytest.raises(StoreUnavailable, match="written"):
        await there.put(WHERE, (), "a/b", "job")
    with pytest.raises(StoreUnavailable, match="read"):
        await there.written(WHERE)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"output": "results"}, "'results' is not an S3 address"),
        ({"failures": "x"}, "'x' is not an S3 address"),
        ({"inputs": ("s3://in/", "y")}, "'y' is not an S3 address"),
        ({"success_topic": "topic"}, "'topic' is not an SNS topic"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(options, told, tmp_path):
    wanted = {
        "output": "s3://out/p",
        "failures": None,
        "journal_dir": tmp_path,
        "s3_endpoint_url": "http://127.0.0.1:1",
    }
    with pytest.raises(ValueError, match=told):
        assemble(AsyncOptions(**{**wanted, **options}), Road(), FakeClock())


async def test_results_and_failures_lie_together_where_nothing_else_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    topic = "arn:aws:sns:eu-west-1:123456789012:good"
    jobs = assemble(AsyncOptions("s3://out/p", None, tmp_path, topic, topic), Road(), FakeClock())
    shown = jobs.snapshot()
    await jobs.end()
    assert (shown["output"], shown["failures"]) == ("s3://out/p/", "s3://out/p/")
