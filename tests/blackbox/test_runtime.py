"""Section 8: what boto3 sees. `boto3.client("sagemaker-runtime", endpoint_url=...)` works unchanged, its errors included."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.blackbox import steps
from tests.blackbox.archives import one
from tests.blackbox.client import ONES, text
from tests.fakes.repositories import linear_weights
from tests.integration.until import until

ANSWER = linear_weights().sum(axis=0).tolist()
JSON = "application/json"


@contextmanager
def boto(client, attempts=1):
    """A client as users make it, but that shows the first error instead of retrying."""
    made = boto3.client(
        "sagemaker-runtime",
        endpoint_url=client.live.base_url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": attempts, "mode": "legacy"}, read_timeout=60),
    )
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def runtime(multi):
    with boto(multi) as made:
        yield made


def invoke(runtime, target, document=None, **more):
    body = document if isinstance(document, bytes) else json.dumps(ONES if document is None else document)
    named = {"TargetModel": target} if target else {}
    return runtime.invoke_endpoint(EndpointName="any-name", Body=body, **{"ContentType": JSON, **named, **more})


def failure(runtime, target, document=None, **more):
    """The error that boto3 raises."""
    with pytest.raises(ClientError) as caught:
        invoke(runtime, target, document, **more)
    return caught.value


@pytest.mark.parametrize("target", ["linear.tar.gz", "/linear.tar.gz", "team/linear.tar.gz", 'big name\'s "v1".tar.gz'])
def test_invoke_endpoint(runtime, target):
    answer = invoke(runtime, target)
    document = json.loads(answer["Body"].read())
    assert document["model_name"] == target.removeprefix("/")
    assert len(document["outputs"][0]["data"]) == 2
    assert answer["ContentType"] == JSON
    assert answer["InvokedProductionVariant"]
    assert answer["ResponseMetadata"]["RequestId"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_every_member_of_the_request_is_taken(runtime):
    answer = invoke(
        runtime,
        "linear.tar.gz",
        Accept=JSON,
        CustomAttributes="c000b4f9-df62; x=1",
        TargetVariant="blue",
        TargetContainerHostname="first",
        InferenceId="id-1",
        EnableExplanations="`true`",
        InferenceComponentName="component",
        SessionId="session-1",
    )
    assert answer["CustomAttributes"] == "c000b4f9-df62; x=1"


def test_a_body_of_bytes_without_a_content_type(runtime):
    answer = runtime.invoke_endpoint(EndpointName="e", TargetModel="linear.tar.gz", Body=json.dumps(ONES).encode())
    assert json.loads(answer["Body"].read())["outputs"][0]["data"] == pytest.approx(ANSWER, rel=1e-5)


def test_the_single_model_needs_no_target(single):
    with boto(single) as runtime:
        answer = invoke(runtime, "")
        assert json.loads(answer["Body"].read())["outputs"][0]["data"] == pytest.approx(ANSWER, rel=1e-5)


@pytest.mark.parametrize("target", ["", "nowhere.tar.gz", "ROOM.tar.gz", "../../etc/passwd"])
def test_no_such_archive_is_a_validation_error(runtime, target):
    error = failure(runtime, target)
    assert error.response["Error"]["Code"] == "ValidationError"
    assert error.response["Error"]["Message"]
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("target", "document", "original"),
    [
        ("linear.tar.gz", b"{nonsense", 400),
        ("linear.tar.gz", {"inputs": []}, 400),
        ("moody.tar.gz", text("raise"), 500),
        ("moody.tar.gz", text("oom"), 507),
        ("counting.tar.gz", text("a fail"), 500),
        ("too-large.tar.gz", None, 507),
    ],
)
def test_what_the_container_refuses_is_a_model_error(multi, runtime, target, document, original):
    error = failure(runtime, target, document)
    assert isinstance(error, runtime.exceptions.ModelError)
    told = error.response
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert told["OriginalStatusCode"] == original
    assert told["OriginalMessage"]
    assert told["Error"]["Message"]
    assert "LogStreamArn" in told
    sent = document if isinstance(document, bytes) else json.dumps(document or ONES)
    container = multi.ask(target, data=sent)
    assert (container.status_code, container.text) == (original, told["OriginalMessage"])


def test_a_body_over_the_limit_is_413(tight):
    with boto(tight) as runtime:
        error = failure(runtime, "echo.tar.gz", b" " * 70_000)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_an_archive_that_takes_long_to_load_is_not_ready(tight):
    gate = tight.path("gate")
    name = tight.add(f"{gate.name}.tar.gz", one(lambda folder: steps.gated(folder, gate)))
    with boto(tight) as runtime:
        try:
            error = failure(runtime, name)
        finally:
            gate.touch()
        assert isinstance(error, runtime.exceptions.ModelNotReadyException)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert int(error.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) >= 1
        until(lambda: tight.resident(name), what="the load that nobody waited for")
        assert json.loads(invoke(runtime, name)["Body"].read())["model_name"] == name


def test_too_many_requests_are_told_to_come_back(tight):
    gate = tight.path("gate")
    name = tight.add(f"{gate.name}.tar.gz", one(lambda folder: steps.gated(folder, gate)))
    with boto(tight) as runtime, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(tight.ask, name) for _ in range(2)]
        try:
            until(lambda: "\nroundhouse_requests_in_flight 2" in tight.get("/metrics").text, 10, "two requests inside")
            error = failure(runtime, "echo.tar.gz")
        finally:
            gate.touch()
        assert isinstance(error, runtime.exceptions.ServiceUnavailable)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert {each.result().status_code for each in waiting} <= {200, 503}
        until(lambda: tight.ask("echo.tar.gz").status_code == 200, what="room again")


def test_a_client_with_retries_gets_its_answer_from_an_archive_that_was_loading(tight):
    """Legacy retries come back after 429: nobody has to write a loop."""
    gate = tight.path("gate")
    name = tight.add(f"{gate.name}.tar.gz", one(lambda folder: steps.gated(folder, gate)))
    with boto(tight, attempts=5) as runtime, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(invoke, runtime, name)
        until((gate.with_name(gate.name + ".waiting")).exists, what="the load")
        gate.touch()
        assert asked.result()["ResponseMetadata"]["HTTPStatusCode"] == 200
