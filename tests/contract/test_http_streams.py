"""Streams over HTTP: boto3's event streams, and Server-Sent Events of the generate extension."""

import json
import socket
from contextlib import closing

import pytest
import requests
from botocore.exceptions import EventStreamError

from server.api.sagemaker.event_stream import CONTENT_TYPE
from tests.contract.http_fakes import COUNTS, CRASHES, FAILS, LOSES, SAYS_NOTHING, WAITS
from tests.contract.runtime_client import runtime_client
from tests.integration.until import until

TARGET = "X-Amzn-SageMaker-Target-Model"


def counts(*numbers):
    """A KServe request for the decoupled archive."""
    return {"inputs": [{"name": "INPUT0", "shape": [len(numbers)], "datatype": "FP32", "data": list(numbers)}]}


def post(server, path, document, headers=None, **more):
    return requests.post(server.url + path, json=document, headers=headers, timeout=10, **more)


def events(answer):
    """The documents of Server-Sent Events."""
    *found, rest = answer.text.split("\n\n")
    assert rest == ""
    assert all(event.startswith("data: ") for event in found)
    return [json.loads(event.removeprefix("data: ")) for event in found]


@pytest.fixture
def streaming(start):
    """A single-model server whose model answers once for each number."""
    return start(default_model=COUNTS)


@pytest.fixture
def runtime(streaming):
    with runtime_client(streaming.url) as client:
        yield client


def opened(runtime, *numbers, **more):
    """boto3's answer; its body has to be closed."""
    more = {"EndpointName": "e", "ContentType": "application/json", "Body": json.dumps(counts(*numbers)), **more}
    return runtime.invoke_endpoint_with_response_stream(**more)


def parts(answer, into=None):
    """What the events of an answer hold, one after another."""
    found = [] if into is None else into
    with closing(answer["Body"]) as stream:
        for event in stream:
            found += [event["PayloadPart"]["Bytes"]]
    return found


def test_each_response_is_an_event(runtime):
    answer = opened(runtime, 1, SAYS_NOTHING, 2, CustomAttributes="a=1")
    assert [json.loads(part)["outputs"][0]["data"] for part in parts(answer)] == [[1.0], [2.0]]
    assert (answer["ContentType"], answer["CustomAttributes"]) == ("application/json", "a=1")
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"].encode() == CONTENT_TYPE
    assert headers["x-roundhouse-warmth"] == "disk"
    assert answer["ResponseMetadata"]["RequestId"]


def test_an_empty_stream_has_no_events(runtime):
    assert parts(opened(runtime, SAYS_NOTHING)) == []


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (FAILS, "ModelStreamError", "unlucky"),
        (LOSES, "ModelStreamError", "died"),
        (CRASHES, "InternalStreamFailure", ""),
    ],
    ids=["model", "engine", "bug"],
)
def test_an_error_in_the_middle_is_the_modelled_exception(streaming, runtime, number, code, words):
    read = []
    with pytest.raises(EventStreamError) as caught:
        parts(opened(runtime, 1, number, 2), into=read)
    assert len(read) == 1
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert words in error["Message"]
    assert "secret" not in error["Message"]
    assert streaming.wiring.engine.streams == 0


def test_time_that_runs_out_in_the_middle_says_so(start):
    with runtime_client(start(default_model=COUNTS, timeout_s=0.2).url) as client:
        read = []
        with pytest.raises(EventStreamError, match="within"):
            parts(opened(client, 1, WAITS), into=read)
        assert len(read) == 1


@pytest.mark.parametrize(("number", "kind"), [(FAILS, "ModelError"), (LOSES, "ServiceUnavailable")])
def test_an_error_at_the_begin_is_a_plain_error(runtime, number, kind):
    with pytest.raises(getattr(runtime.exceptions, kind)):
        opened(runtime, number, 1)


def test_a_client_that_leaves_ends_the_model(streaming, runtime):
    with closing(opened(runtime, 1, WAITS, 2)["Body"]) as body:
        assert next(iter(body))["PayloadPart"]
        assert streaming.wiring.engine.streams == 1
    until(lambda: streaming.wiring.engine.streams == 0, what="the model's end")
    until(lambda: streaming.wiring.admission.running == 0, what="the slot")
    assert all(each["leases"] == 0 for each in streaming.wiring.residency.snapshot()["residents"])


def test_a_client_that_leaves_before_the_first_answer_ends_the_model(streaming):
    body = json.dumps(counts(WAITS)).encode()
    head = f"POST /endpoints/e/invocations-response-stream HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", streaming.running.port), timeout=10) as leaving:
        leaving.sendall(head.encode() + body)
        until(lambda: streaming.wiring.engine.streams == 1, what="the request")
    until(lambda: streaming.wiring.admission.running == 0, what="the slot")
    assert streaming.wiring.engine.streams == 0


def test_a_session_is_not_opened_by_a_stream(runtime):
    with pytest.raises(runtime.exceptions.ValidationError, match="session"):
        opened(runtime, 1, SessionId="NEW_SESSION")


@pytest.mark.parametrize("path", ["/invocations", f"/models/{COUNTS}/invoke", f"/v2/models/{COUNTS}/infer"])
def test_who_reads_no_stream_gets_the_last_response(streaming, path):
    answer = post(streaming, path, counts(1, 2, SAYS_NOTHING))
    assert answer.json()["outputs"][0]["data"] == [2.0]


@pytest.mark.parametrize(
    ("path", "status"), [("/invocations", 500), (f"/models/{COUNTS}/invoke", 400), (f"/v2/models/{COUNTS}/infer", 500)]
)
def test_no_response_at_all_is_the_models_failure(streaming, path, status):
    answer = post(streaming, path, counts(SAYS_NOTHING))
    assert answer.status_code == status
    assert "without an answer" in answer.json()["error"]


# --- generate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["generate", "versions/1/generate"])
def test_generate_answers_flat(server, path):
    answer = post(server, f"/v2/models/echo.tar.gz/{path}", {"id": "7", "INPUT0": [1, 2]})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"id": "7", "model_name": "echo.tar.gz", "model_version": "1", "INPUT0": [1.0, 2.0]}


def test_generate_stream_sends_events(server):
    answer = post(server, f"/v2/models/{COUNTS}/generate_stream", {"INPUT0": [1, 2]})
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["X-Request-Id"]
    assert [event["INPUT0"] for event in events(answer)] == [1.0, 2.0]
    plain = post(server, "/v2/models/echo.tar.gz/generate_stream", {"INPUT0": [1, 2]})
    assert [event["INPUT0"] for event in events(plain)] == [[1.0, 2.0]]


def test_an_error_in_the_middle_is_the_last_event(server):
    answer = post(server, f"/v2/models/{COUNTS}/generate_stream", {"INPUT0": [1, FAILS, 2]})
    assert answer.status_code == 200
    first, last = events(answer)
    assert first["INPUT0"] == 1.0
    assert "unlucky" in last["error"]


@pytest.mark.parametrize("operation", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("document", "status"),
    [({}, 400), ([], 400), ({"INPUT0": "a"}, 400), ({"INPUT0": 1, "stop": []}, 400), ({"INPUT0": [FAILS]}, 500)],
    ids=["nothing", "a list", "a text", "a list as a parameter", "a model that fails"],
)
def test_errors_before_the_first_response_have_their_status(server, operation, document, status):
    answer = post(server, f"/v2/models/{COUNTS}/{operation}", document)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json().keys() == {"error"}


def test_generate_is_for_one_response(server):
    assert post(server, f"/v2/models/{COUNTS}/generate", {"INPUT0": [4]}).json()["INPUT0"] == 4.0
    answer = post(server, f"/v2/models/{COUNTS}/generate", {"INPUT0": [1, 2]})
    assert answer.status_code == 500
    assert "generate_stream" in answer.json()["error"]


@pytest.mark.parametrize("operation", ["generate", "generate_stream"])
def test_generate_is_a_post_for_an_archive_that_is_there(server, operation):
    assert requests.get(f"{server.url}/v2/models/echo.tar.gz/{operation}", timeout=5).status_code == 405
    assert post(server, f"/v2/models/nowhere.tar.gz/{operation}", {}).status_code == 404


# --- what /invocations means --------------------------------------------------------------------------------------


def test_invocations_may_generate(start):
    server = start(default_model="echo.tar.gz", inference_type="generate")
    answer = post(server, "/invocations", {"INPUT0": [1, 2], "a": 1})
    assert answer.json() == {"model_name": "echo.tar.gz", "model_version": "1", "INPUT0": [1.0, 2.0]}
    assert server.wiring.engine.asked == {"a": 1}
    assert post(server, "/invocations", {"INPUT0": "a"}).status_code == 400
    assert post(server, "/models/other.tar.gz/invoke", counts(1)).json()["outputs"]
    with runtime_client(server.url) as client:
        arguments = {"EndpointName": "e", "Body": b'{"INPUT0": 5}'}
        assert json.loads(client.invoke_endpoint(**arguments)["Body"].read())["INPUT0"] == 5.0
        [part] = parts(client.invoke_endpoint_with_response_stream(**arguments))
        assert json.loads(part)["INPUT0"] == 5.0


def test_invocations_may_generate_a_stream(start):
    server = start(default_model=COUNTS, inference_type="generate_stream")
    document = {"INPUT0": [1, 2]}
    answer = post(server, "/invocations", document)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert [event["INPUT0"] for event in events(answer)] == [1.0, 2.0]
    assert post(server, "/models/echo.tar.gz/invoke", counts(1)).json()["outputs"]
    with runtime_client(server.url) as client:
        arguments = {"EndpointName": "e", "Body": json.dumps(document)}
        whole = client.invoke_endpoint(**arguments)
        assert whole["ContentType"] == "text/event-stream; charset=utf-8"
        assert whole["Body"].read() == answer.content
        streamed = client.invoke_endpoint_with_response_stream(**arguments)
        assert streamed["ContentType"] == "text/event-stream; charset=utf-8"
        read = parts(streamed)
    assert len(read) == 2
    assert b"".join(read) == answer.content
