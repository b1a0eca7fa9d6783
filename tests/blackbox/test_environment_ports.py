"""Section 6, further ports, and section 1, restricted calls: as a container is told by variables."""

import socket
from pathlib import Path

import psutil
import pytest
import requests
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from server.engines.triton.repository.config_rewrite import model_name
from tests.blackbox.archives import one, put
from tests.blackbox.client import Client
from tests.fakes.repositories import linear_weights, onnx_linear
from tests.integration.live_server import free_port, live_server, start


@pytest.fixture
def store(tmp_path) -> Path:
    """A store with one archive."""
    put(tmp_path / "store", "linear.tar.gz", one(onnx_linear, "linear"), tmp_path / "scratch")
    return tmp_path / "store"


def listens(port: int) -> bool:
    """Whether anybody takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_metrics_have_a_port_of_their_own(tmp_path, store):
    port = free_port()
    environ = {"SAGEMAKER_TRITON_ALLOW_METRICS": "true", "SAGEMAKER_TRITON_METRICS_PORT": str(port)}
    with live_server(tmp_path, "--engine", "embedded", "--store", store, environ=environ) as live:
        client = Client(live, "embedded", tmp_path)
        assert client.ask("linear.tar.gz").status_code == 200
        page = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
        assert page.headers["content-type"] == client.get("/metrics").headers["content-type"]
        assert 'ModelCacheHit_count{archive="linear.tar.gz"} 1.0' in page.text
        others = [
            requests.get(f"http://127.0.0.1:{port}{path}", timeout=10) for path in ("/", "/ping", "/admin/server")
        ]
        assert [other.status_code for other in others] == [404] * 3
        assert requests.post(f"http://127.0.0.1:{port}/metrics", timeout=10).status_code == 404
    assert not listens(port)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (
            {"SAGEMAKER_TRITON_ALLOW_METRICS": "true", "SAGEMAKER_SAFE_PORT_RANGE": "20000-30000"},
            "metrics_port 8002 is outside safe_port_range 20000-30000",
        ),
        (
            {"SAGEMAKER_TRITON_ADDITIONAL_ARGS": "--http-restricted-api=weather:H=secret"},
            "there are the groups inference, model-repository, health",
        ),
    ],
    ids=["a port outside the range", "a group that there is not"],
)
def test_a_server_that_may_not_open_a_port_or_close_a_group_does_not_start(tmp_path, store, environ, words):
    server = start(tmp_path, "--engine", "embedded", "--store", store, environ=environ)
    assert server.wait() in {1, 2}
    assert words in server.text()
    assert "secret" not in server.text()


def test_a_metrics_port_that_is_taken_is_named(tmp_path, store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start(tmp_path, "--engine", "embedded", "--store", store, "--metrics-port", port)
        assert server.wait() == 2
    assert f"cannot listen on 127.0.0.1:{port}" in server.text()


def test_without_triton_one_line_says_that_there_is_no_grpc(tmp_path, store):
    port = free_port()
    environ = {"SAGEMAKER_TRITON_ALLOW_GRPC": "true", "SAGEMAKER_TRITON_GRPC_PORT": str(port)}
    with live_server(tmp_path, "--engine", "embedded", "--store", store, environ=environ) as live:
        assert live.text().count("gRPC") == 1
        assert f"no gRPC on port {port}: the embedded engine has none; --engine triton has" in live.text()
        assert not listens(port)


@pytest.mark.triton
def test_triton_answers_grpc_to_others_and_leaves_loading_to_us(tmp_path, store):
    port = free_port()
    environ = {"SAGEMAKER_TRITON_ALLOW_GRPC": "true", "SAGEMAKER_TRITON_GRPC_PORT": str(port)}
    with live_server(tmp_path, "--engine", "triton", "--store", store, environ=environ) as live:
        client = Client(live, "triton", tmp_path)
        assert client.ask("linear.tar.gz").status_code == 200  # so our own loads get through
        (resident,) = client.get("/admin/residency").json()["residents"]
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as own:
            assert own.is_server_ready()
            name = model_name(resident["steps"][0]["digest"])
            tensor = triton_grpc.InferInput("INPUT0", [1, 4], "FP32")
            tensor.set_data_from_numpy(linear_weights(1, 4) * 0 + 1)
            answer = own.infer(name, [tensor]).as_numpy("OUTPUT0")
            assert answer[0] == pytest.approx(linear_weights().sum(axis=0), rel=1e-5)
            with pytest.raises(InferenceServerException, match="restricted"):
                own.unload_model(name)
            with pytest.raises(InferenceServerException, match="restricted"):
                own.get_model_repository_index()
        assert client.ask("linear.tar.gz").status_code == 200
        assert client.call("POST", "/admin/unload/linear.tar.gz").status_code == 204


@pytest.mark.triton
def test_triton_takes_its_own_ports_from_the_safe_range(tmp_path, store):
    low = free_port() // 100 * 100
    environ = {"SAGEMAKER_SAFE_PORT_RANGE": f"{low}-{low + 99}"}
    with live_server(tmp_path, "--engine", "triton", "--store", store, environ=environ) as live:
        client = Client(live, "triton", tmp_path)
        assert client.ask("linear.tar.gz").status_code == 200
        told = psutil.Process(client.engine_facts()["pid"]).cmdline()
        ports = [int(word.split("=")[1]) for word in told if word.startswith(("--http-port=", "--grpc-port="))]
        assert len(ports) == 2
        assert all(low <= port <= low + 99 for port in ports)


def test_additional_arguments_close_calls(tmp_path, store):
    environ = {"SAGEMAKER_TRITON_ADDITIONAL_ARGS": "--http-restricted-api=model-repository:X-Key=open"}
    with live_server(tmp_path, "--engine", "embedded", "--store", store, environ=environ) as live:
        client = Client(live, "embedded", tmp_path)
        assert client.get("/models").status_code == 403
        assert client.get("/models").json() == {"error": "This API is restricted, expecting header 'X-Key'"}
        assert client.get("/models", headers={"X-Key": "open"}).status_code == 200
        assert client.ask("linear.tar.gz").status_code == 200
