"""KServe v2 with the real tritonclient."""

import json

import numpy as np
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.contract.test_http_container import body


@pytest.fixture
def connect():
    clients = []

    def connected(server):
        clients.append(triton.InferenceServerClient(server.url.removeprefix("http://"), network_timeout=30))
        return clients[-1]

    yield connected
    for client in clients:
        client.close()


@pytest.fixture
def client(server, connect):
    return connect(server)


def tensor(values=(1.0, 2.0), is_binary=True):
    array = np.array(values, dtype=np.float32)
    given = triton.InferInput("INPUT0", list(array.shape), "FP32")
    given.set_data_from_numpy(array, binary_data=is_binary)
    return given


@pytest.mark.parametrize("name", ["echo.tar.gz", "team/echo.tar.gz", "big name's.tar.gz"])
@pytest.mark.parametrize("is_binary_in", [True, False])
@pytest.mark.parametrize("is_binary_out", [True, False])
def test_infer(client, name, is_binary_in, is_binary_out):
    wanted = [triton.InferRequestedOutput("INPUT0", binary_data=is_binary_out)]
    result = client.infer(name, [tensor(is_binary=is_binary_in)], outputs=wanted, request_id="r-1")
    assert result.as_numpy("INPUT0").tolist() == [1.0, 2.0]
    assert result.get_response()["model_name"] == name
    assert result.get_response()["id"] == "r-1"


def test_names_may_be_sent_with_encoded_slashes(server):
    answer = requests.post(f"{server.url}/v2/models/team%2Fecho.tar.gz/infer", data=body(), timeout=5)
    assert answer.json()["model_name"] == "team/echo.tar.gz"


@pytest.mark.parametrize("way", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(client, way):
    values = np.zeros(10_000, dtype=np.float32)
    result = client.infer(
        "echo.tar.gz",
        [tensor(values)],
        request_compression_algorithm=way,
        response_compression_algorithm=way,
    )
    assert result.as_numpy("INPUT0").shape == (10_000,)


def test_health(client):
    assert client.is_server_live()
    assert client.is_server_ready()


def test_the_server_is_not_ready_before_it_is(start, connect):
    client = connect(start(is_ready=False))
    assert client.is_server_live()
    assert not client.is_server_ready()


@pytest.mark.parametrize(
    ("name", "version", "is_ready"),
    [
        ("echo.tar.gz", "", True),
        ("team/echo.tar.gz", "1", True),
        ("echo.tar.gz", "2", False),
        ("nowhere.tar.gz", "", False),
        ("corrupt.tar.gz", "", False),
    ],
)
def test_an_archive_is_ready_when_a_request_would_be_served(client, name, version, is_ready):
    assert client.is_model_ready(name, version) is is_ready


def test_server_metadata(client):
    document = client.get_server_metadata()
    assert document["name"] == "roundhouse"
    assert "binary_tensor_data" in document["extensions"]


@pytest.mark.parametrize("version", ["", "1"])
def test_model_metadata_and_configuration(client, version):
    metadata = client.get_model_metadata("team/echo.tar.gz", version)
    assert metadata["name"] == "team/echo.tar.gz"
    assert metadata["inputs"] == [{"name": "INPUT0", "datatype": "FP32", "shape": [-1]}]
    assert client.get_model_config("team/echo.tar.gz", version)["input"][0]["data_type"] == "TYPE_FP32"


ERRORS = [
    ("nowhere.tar.gz", "", 404),
    ("echo.tar.gz", "7", 404),
    ("corrupt.tar.gz", "", 400),
    ("BLOOM.tar.gz", "", 400),
    ("huge.tar.gz", "", 507),
    ("raises.tar.gz", "", 500),
    ("loses.tar.gz", "", 503),
    ("unreachable.tar.gz", "", 503),
]


@pytest.mark.parametrize(("name", "version", "status"), ERRORS)
def test_errors_carry_a_message_and_a_status(client, name, version, status):
    with pytest.raises(InferenceServerException) as caught:
        client.infer(name, [tensor()], model_version=version)
    assert caught.value.status() == str(status)
    assert caught.value.message()


def test_an_input_that_does_not_fit_is_400(client):
    wrong = triton.InferInput("INPUT0", [2], "INT32")
    wrong.set_data_from_numpy(np.array([1, 2], dtype=np.int32))
    with pytest.raises(InferenceServerException, match="FP32"):
        client.infer("echo.tar.gz", [wrong])


@pytest.mark.parametrize("size", ["x", "-1", "99999", "1e3"])
def test_a_wrong_json_size_is_400(server, size):
    headers = {"Inference-Header-Content-Length": size}
    answer = requests.post(f"{server.url}/v2/models/echo.tar.gz/infer", data=body(), headers=headers, timeout=5)
    assert answer.status_code == 400


def test_repository_load_unload_and_index(start, connect):
    client = connect(start())
    name = "team/echo.tar.gz"

    def state():
        return next(row["state"] for row in client.get_model_repository_index() if row["name"] == name)

    assert state() == "UNAVAILABLE"
    client.load_model(name)
    assert state() == "READY"
    client.unload_model(name)
    assert state() == "UNAVAILABLE"
    client.unload_model(name)
    assert client.infer(name, [tensor()]).as_numpy("INPUT0").shape == (2,)
    assert state() == "READY"


def test_the_index_can_be_of_what_is_ready(start):
    server = start()
    requests.post(f"{server.url}/v2/repository/models/echo.tar.gz/load", timeout=5)
    rows = requests.post(f"{server.url}/v2/repository/index", json={"ready": True}, timeout=5).json()
    assert [row["name"] for row in rows] == ["echo.tar.gz"]


@pytest.mark.parametrize("way", ["load_model", "unload_model"])
def test_loads_and_unloads_of_unknown_archives_fail(client, way):
    with pytest.raises(InferenceServerException) as caught:
        getattr(client, way)("nowhere.tar.gz")
    assert caught.value.status() == "404"


def test_a_load_with_files_in_the_request_is_refused(client):
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("echo.tar.gz", config=json.dumps({"backend": "x"}))
    assert caught.value.status() == "400"


def test_statistics_count_inferences(start, connect):
    client = connect(start())
    for _ in range(3):
        client.infer("echo.tar.gz", [tensor()])
    (statistics,) = client.get_inference_statistics("echo.tar.gz")["model_stats"]
    assert statistics["inference_count"] == 3
    assert statistics["inference_stats"]["success"]["count"] == 3
    assert [row["name"] for row in client.get_inference_statistics()["model_stats"]] == ["echo.tar.gz"]


def test_warmth_is_told_here_too(start):
    server = start()
    answer = requests.post(f"{server.url}/v2/models/echo.tar.gz/infer", data=body(), timeout=5)
    assert answer.headers["x-roundhouse-warmth"] == "disk"
