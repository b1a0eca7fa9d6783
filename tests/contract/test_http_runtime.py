"""The SageMaker runtime API with boto3's own client: answers, and the error classes that botocore raises."""

import json
from contextlib import closing

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.contract.test_http_container import body


@pytest.fixture
def connect():
    clients = []

    def connected(server):
        client = boto3.client(
            "sagemaker-runtime",
            endpoint_url=server.url,
            region_name="eu-west-1",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30),
        )
        clients.append(client)
        return client

    yield connected
    for client in clients:
        client.close()


def invoke(client, target=None, **arguments):
    if target is not None:
        arguments["TargetModel"] = target
    arguments = {"EndpointName": "any", "ContentType": "application/json", "Body": body(), **arguments}
    return client.invoke_endpoint(**arguments)


@pytest.mark.parametrize("target", ["echo.tar.gz", "/team/echo.tar.gz", "big name's.tar.gz"])
def test_invoke_endpoint_answers(server, connect, target):
    answer = invoke(connect(server), target, CustomAttributes="trace=1")
    assert json.loads(answer["Body"].read())["model_name"] == target.removeprefix("/")
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "trace=1"
    assert answer["ResponseMetadata"]["RequestId"]


def test_members_that_mean_nothing_here_are_ignored(server, connect):
    answer = invoke(
        connect(server),
        "echo.tar.gz",
        TargetVariant="blue",
        InferenceId="i-1",
        EnableExplanations="`true`",
        InferenceComponentName="component",
        SessionId="session-1",
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_the_default_model_needs_no_target(single, connect):
    assert json.loads(invoke(connect(single))["Body"].read())["model_name"] == "echo.tar.gz"


# what goes wrong, botocore's class, status, words of the message
ERRORS = [
    ("no target", None, "ValidationError", 400, "X-Amzn-SageMaker-Target-Model"),
    ("unknown archive", "nowhere.tar.gz", "ValidationError", 400, "nowhere.tar.gz"),
    ("no name of an archive", "../etc/passwd", "ValidationError", 400, "not found"),
    ("corrupt archive", "corrupt.tar.gz", "ModelError", 424, "cut off"),
    ("a load that fails", "BLOOM.tar.gz", "ModelError", 424, "says its name"),
    ("no memory", "huge.tar.gz", "ModelError", 424, "does not fit"),
    ("a model that raises", "raises.tar.gz", "ModelError", 424, "said no"),
    ("an engine that keeps dying", "loses.tar.gz", "ServiceUnavailable", 503, "died"),
    ("a store that does not answer", "unreachable.tar.gz", "ServiceUnavailable", 503, "store"),
    ("a bug", "crashes.tar.gz", "InternalFailure", 500, "internal error"),
]


@pytest.mark.parametrize(
    ("target", "kind", "status", "words"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS]
)
def test_each_error_has_botocore_s_class(server, connect, target, kind, status, words):
    client = connect(server)
    with pytest.raises(getattr(client.exceptions, kind)) as caught:
        invoke(client, target)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["Error"]["Code"] == kind
    assert words in response["Error"]["Message"]


@pytest.mark.parametrize(
    ("target", "original"),
    [("raises.tar.gz", 500), ("corrupt.tar.gz", 400), ("oom.tar.gz", 507), ("BLOOM.tar.gz", 500)],
)
def test_model_errors_carry_the_container_s_answer(server, connect, target, original):
    client = connect(server)
    with pytest.raises(client.exceptions.ModelError) as caught:
        invoke(client, target)
    response = caught.value.response
    assert response["OriginalStatusCode"] == original
    assert "error" in json.loads(response["OriginalMessage"])


def test_a_bad_payload_is_a_model_error_with_status_400(server, connect):
    client = connect(server)
    with pytest.raises(client.exceptions.ModelError) as caught:
        invoke(client, "echo.tar.gz", Body=b"{nonsense")
    assert caught.value.response["OriginalStatusCode"] == 400


def test_an_archive_that_is_still_loading_is_not_ready(start, connect):
    server = start(load_wait_s=0.05)
    server.running.on_loop(server.wiring.engine.loads_open.clear)
    client = connect(server)
    with pytest.raises(client.exceptions.ModelNotReadyException) as caught:
        invoke(client, "echo.tar.gz")
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert int(headers["retry-after"]) >= 1


def test_a_client_that_retries_as_of_old_waits_for_a_model_that_loads(start):
    server = start(load_wait_s=0.05)
    server.running.on_loop(server.wiring.engine.loads_open.clear)
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=server.url,
        region_name="eu-west-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(retries={"mode": "legacy"}),
    )
    opened = []

    def open_on_retry(**_):
        opened.append(1)
        server.running.on_loop(server.wiring.engine.loads_open.set)

    client.meta.events.register("needs-retry.sagemaker-runtime.InvokeEndpoint", open_on_retry)
    answer = invoke(client, "echo.tar.gz")
    client.close()
    assert answer["ResponseMetadata"]["RetryAttempts"] >= 1
    assert opened


def test_a_body_over_the_limit_is_a_plain_client_error(start, connect):
    client = connect(start(max_body_bytes=1000))
    with pytest.raises(ClientError) as caught:
        invoke(client, "echo.tar.gz", Body=b"x" * 2000)
    assert type(caught.value) is ClientError
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_full_server_is_unavailable(start, connect):
    client = connect(start(max_in_flight=0))
    with pytest.raises(client.exceptions.ServiceUnavailable):
        invoke(client, "echo.tar.gz")


def test_an_answer_that_takes_too_long_is_a_model_error(start, connect):
    client = connect(start(timeout_s=0.05))
    with pytest.raises(client.exceptions.ModelError) as caught:
        invoke(client, "slow.tar.gz")
    assert caught.value.response["OriginalStatusCode"] == 504


def test_a_model_with_one_answer_streams_one_part(single, connect):
    answer = connect(single).invoke_endpoint_with_response_stream(
        EndpointName="any", ContentType="application/json", Body=body()
    )
    with closing(answer["Body"]) as events:
        [part] = [event["PayloadPart"]["Bytes"] for event in events]
    assert answer["ContentType"] == "application/json"
    assert json.loads(part)["outputs"][0]["data"] == [1.0, 2.0]


def test_errors_before_a_stream_are_raised_as_errors(server, connect):
    client = connect(server)
    with pytest.raises(client.exceptions.ValidationError):
        client.invoke_endpoint_with_response_stream(EndpointName="any", Body=body())


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "invocations", 405), ("POST", "nothing", 404)])
def test_other_routes_answer_in_the_runtime_s_manner(server, method, path, status):
    answer = requests.request(method, f"{server.url}/endpoints/any/{path}", timeout=5)
    assert answer.status_code == status
    assert answer.json()["Message"]
    assert answer.headers["x-amzn-RequestId"]
