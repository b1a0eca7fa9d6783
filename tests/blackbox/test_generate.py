"""Section 4.4: Triton's generate extension, as a route of KServe and as what `/invocations` means."""

import json
import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.blackbox import steps
from tests.blackbox.archives import one
from tests.blackbox.client import TARGET, Client, outputs, text
from tests.blackbox.test_runtime import boto
from tests.integration.live_server import ROOT, live_server
from tests.integration.until import until

COUNTING = "/v2/models/counting.tar.gz"
EVENTS = "text/event-stream; charset=utf-8"


def events(answer):
    """The documents of Server-Sent Events."""
    *found, rest = answer.text.split("\n\n")
    assert rest == ""
    assert all(event.startswith("data: ") for event in found)
    return [json.loads(event.removeprefix("data: ")) for event in found]


def words(answer):
    return [event.get("OUTPUT0") for event in events(answer)]


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_generate(multi, version):
    answer = multi.call("POST", f"{COUNTING}{version}/generate", json={"INPUT0": "hello", "id": "7"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "id": "7",
        "model_name": "counting.tar.gz",
        "model_version": "1",
        "OUTPUT0": "hello",
    }


def test_lists_and_batches_find_their_shape(multi):
    def generated(archive, values):
        return multi.call("POST", f"/v2/models/{archive}/generate", json={"INPUT0": values}).json()["OUTPUT0"]

    assert generated("vector.tar.gz", [1, 2.5, 3]) == [1.0, 2.5, 3.0]
    assert generated("vector.tar.gz", 5) == 5.0
    assert generated("echo.tar.gz", [1, 2, 3, 4, 5, 6, 7, 8]) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert len(generated("linear.tar.gz", [1, 1, 1, 1])) == 2


def test_other_keys_reach_the_model_as_parameters(multi):
    document = {"INPUT0": "parameters", "temperature": 0.5, "parameters": {"stream": False, "top_k": 3}}
    answer = multi.call("POST", "/v2/models/moody.tar.gz/generate", json=document)
    told = json.loads(answer.json()["OUTPUT0"])
    assert (told["temperature"], told["stream"], told["top_k"]) == (0.5, False, 3)


def test_generate_stream(multi):
    answer = multi.call("POST", f"{COUNTING}/generate_stream", json={"INPUT0": "one two three"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == EVENTS
    assert words(answer) == ["one", "two", "three"]
    assert events(answer)[0].keys() == {"model_name", "model_version", "OUTPUT0"}


def test_a_model_with_one_answer_streams_one_event(multi):
    answer = multi.call("POST", "/v2/models/vector.tar.gz/generate_stream", json={"INPUT0": [1, 2]})
    assert words(answer) == [[1.0, 2.0]]


def test_an_error_in_the_middle_is_the_last_event(multi):
    answer = multi.call("POST", f"{COUNTING}/generate_stream", json={"INPUT0": "one fail two"})
    assert answer.status_code == 200
    first, last = events(answer)
    assert first["OUTPUT0"] == "one"
    assert "told on purpose" in last["error"]


@pytest.mark.parametrize("operation", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"INPUT0": "fail"}, 500),
        ({}, 400),
        ([], 400),
        ({"INPUT0": 5}, 400),
        ({"INPUT0": ["a", "b"]}, 400),
        ({"INPUT0": "a", "stop": ["b"]}, 400),
        ({"INPUT0": "a", "parameters": 5}, 400),
    ],
    ids=["the model fails", "nothing", "a list", "a number", "too many", "a list as a parameter", "no parameters"],
)
def test_an_error_before_the_first_response_has_its_status(multi, operation, document, status):
    answer = multi.call("POST", f"{COUNTING}/{operation}", json=document)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"]


@pytest.mark.parametrize("said", ["one two", ""])
def test_generate_wants_exactly_one_response(multi, said):
    answer = multi.call("POST", f"{COUNTING}/generate", json={"INPUT0": said})
    assert answer.status_code == 500
    assert answer.json()["error"]


@pytest.mark.parametrize("operation", ["generate", "generate_stream"])
def test_generate_as_a_route(multi, operation):
    assert multi.get(f"{COUNTING}/{operation}").status_code == 405
    assert multi.call("POST", f"/v2/models/nowhere.tar.gz/{operation}", json={}).status_code == 404
    assert multi.call("POST", f"{COUNTING}/versions/9/{operation}", json={}).status_code == 404


def test_a_client_that_leaves_ends_the_model(multi):
    ended = multi.path("ended")
    document = {"INPUT0": f"one endless:{ended}"}
    with closing(multi.call("POST", f"{COUNTING}/generate_stream", json=document, stream=True)) as answer:
        assert next(answer.iter_lines()).startswith(b"data: ")
    until(ended.exists, what="the model's end")
    until(lambda: multi.leases() == 0, what="the lease")


# --- what /invocations means --------------------------------------------------------------------------------------


@contextmanager
def container(folder, engine, inference_type):
    """A single-model server whose model streams the words of its text."""
    one(steps.counting, "counting")(folder / "model")
    flags = ("--engine", engine, "--model", folder / "model", "--load-root", folder)
    with live_server(folder, *flags, environ={"SAGEMAKER_TRITON_INFERENCE_TYPE": inference_type}) as live:
        yield Client(live, engine, folder)


def test_invocations_generate_a_stream(engine, tmp_path):
    with container(tmp_path, engine, "generate_stream") as client:
        answer = client.call("POST", "/invocations", json={"INPUT0": "one two"})
        assert answer.headers["Content-Type"] == EVENTS
        assert words(answer) == ["one", "two"]
        assert client.call("POST", "/invocations", json={"INPUT0": 5}).status_code == 400
        with boto(client) as runtime:
            streamed = runtime.invoke_endpoint_with_response_stream(EndpointName="e", Body=b'{"INPUT0": "one two"}')
            with closing(streamed["Body"]) as parts:
                read = [part["PayloadPart"]["Bytes"] for part in parts]
            assert streamed["ContentType"] == EVENTS
            assert len(read) == 2
            assert b"".join(read) == answer.content
        invoked = client.invoke("model", text("one two"), target="model")
        assert outputs(invoked) == {"OUTPUT0": ["two"]}


def test_invocations_generate(tmp_path):
    with container(tmp_path, "embedded", "generate") as client:
        answer = client.call("POST", "/invocations", {TARGET: ""}, json={"INPUT0": "one"})
        assert answer.json() == {"model_name": "model", "model_version": "1", "OUTPUT0": "one"}
        assert client.call("POST", "/invocations", json={"INPUT0": "one two"}).status_code == 500
        with boto(client) as runtime:
            told = runtime.invoke_endpoint(EndpointName="e", Body=b'{"INPUT0": "one"}')
            assert json.loads(told["Body"].read()) == answer.json()


@pytest.mark.parametrize("said", ["Generate", "stream"])
def test_other_inference_types_end_the_start(said):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ROUNDHOUSE_", "SAGEMAKER_"))}
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("roundhouse")), "serve"],
        env={**environ, "SAGEMAKER_TRITON_INFERENCE_TYPE": said},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "inference_type" in ended.stderr
    assert said in ended.stderr
    assert "'generate_stream'" in ended.stderr
