"""KServe v2 with tritonclient: the archive's name is the model's name, with slashes and all."""

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.blackbox.archives import one
from tests.blackbox.client import ONES
from tests.fakes.repositories import linear_weights, onnx_linear

NAMES = ["linear.tar.gz", "team/linear.tar.gz"]
SEEDS = {"linear.tar.gz": 0, "team/linear.tar.gz": 1}
INPUT = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def client(multi):
    made = triton.InferenceServerClient(multi.live.base_url.removeprefix("http://"), network_timeout=60)
    yield made
    made.close()


def given(array, datatype="FP32", *, binary=True, name="INPUT0"):
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def test_health_and_server_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    told = client.get_server_metadata()
    assert told["name"]
    assert told["version"]
    assert {"binary_tensor_data", "classification", "model_repository", "model_configuration"} <= set(
        told["extensions"]
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_model_says_what_it_is(client, name):
    assert client.is_model_ready(name)
    assert client.is_model_ready(name, "1")
    metadata = client.get_model_metadata(name)
    assert (metadata["name"], metadata["versions"]) == (name, ["1"])
    assert metadata["platform"]
    assert metadata["inputs"] == [{"name": "INPUT0", "datatype": "FP32", "shape": [-1, 4]}]
    assert metadata["outputs"] == [{"name": "OUTPUT0", "datatype": "FP32", "shape": [-1, 2]}]
    config = client.get_model_config(name)
    assert (config["name"], config["max_batch_size"]) == (name, 8)
    assert config["input"][0]["name"] == "INPUT0"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sent", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("received", [True, False], ids=["binary out", "JSON out"])
def test_infer(client, name, sent, received):
    wanted = [triton.InferRequestedOutput("OUTPUT0", binary_data=received)]
    answer = client.infer(name, [given(INPUT, binary=sent)], outputs=wanted, request_id="7")
    np.testing.assert_allclose(answer.as_numpy("OUTPUT0"), INPUT @ linear_weights(seed=SEEDS[name]), rtol=1e-4)
    assert (answer.get_response()["model_name"], answer.get_response()["id"]) == (name, "7")


def test_infer_with_a_version_and_compression(client):
    answer = client.infer(
        "linear.tar.gz",
        [given(INPUT)],
        model_version="1",
        request_compression_algorithm="gzip",
        response_compression_algorithm="gzip",
    )
    assert answer.as_numpy("OUTPUT0").shape == (2, 2)


def test_infer_texts_and_half_floats(client):
    words = np.array(["", "zwölf", "a\nb"], dtype=object)
    answer = client.infer("words.tar.gz", [given(words, "BYTES")])
    assert [word.decode() for word in answer.as_numpy("OUTPUT0")] == words.tolist()
    half = np.array([0.5, 2.0], dtype=np.float16)
    np.testing.assert_array_equal(client.infer("half.tar.gz", [given(half, "FP16")]).as_numpy("OUTPUT0"), half)


def test_classification(client):
    wanted = [triton.InferRequestedOutput("OUTPUT0", class_count=1)]
    ranked = client.infer("labelled.tar.gz", [given(INPUT[:1])], outputs=wanted).as_numpy("OUTPUT0")
    assert ranked.shape == (1, 1)
    assert ranked[0, 0].decode().count(":") == 2


def test_asynchronous_inference(client):
    asked = [client.async_infer("linear.tar.gz", [given(INPUT)]) for _ in range(3)]
    for each in asked:
        np.testing.assert_allclose(each.get_result().as_numpy("OUTPUT0"), INPUT @ linear_weights(), rtol=1e-4)


def test_load_index_and_unload(multi, client):
    def state(name):
        return {row["name"]: row["state"] for row in client.get_model_repository_index()}[name]

    name = multi.add("kserve/to load.tar.gz", one(onnx_linear))
    assert state(name) == "UNAVAILABLE"
    client.load_model(name)
    assert state(name) == "READY"
    assert multi.ask(name, ONES).headers["x-roundhouse-warmth"] == "resident"
    client.unload_model(name)
    assert state(name) == "UNAVAILABLE"
    assert multi.resident(name) is None
    client.unload_model(name)  # it may have been evicted: not an error
    assert multi.ask(name, ONES).status_code == 200


def test_statistics_count_requests(client):
    def count():
        [told] = client.get_inference_statistics("linear.tar.gz")["model_stats"]
        return told["inference_stats"]["success"]["count"]

    client.infer("linear.tar.gz", [given(INPUT)])
    before = count()
    client.infer("linear.tar.gz", [given(INPUT)])
    assert count() == before + 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get_model_metadata("nowhere.tar.gz"),
        lambda client: client.get_model_config("nowhere.tar.gz"),
        lambda client: client.load_model("nowhere.tar.gz"),
        lambda client: client.unload_model("nowhere.tar.gz"),
        lambda client: client.infer("nowhere.tar.gz", [given(INPUT)]),
        lambda client: client.infer("linear.tar.gz", [given(INPUT)], model_version="2"),
    ],
    ids=["metadata", "config", "load", "unload", "infer", "another version"],
)
def test_what_is_not_there_is_404(client, ask):
    with pytest.raises(InferenceServerException) as caught:
        ask(client)
    assert caught.value.status() == "404"


@pytest.mark.parametrize("name", ["nowhere.tar.gz", "too-large.tar.gz/no"])
def test_what_is_not_there_is_not_ready(client, name):
    assert not client.is_model_ready(name)


def test_what_does_not_fit_is_400(client):
    with pytest.raises(InferenceServerException) as caught:
        client.infer("linear.tar.gz", [given(INPUT.astype(np.int32), "INT32")])
    assert caught.value.status() == "400"
    assert "INT32" in caught.value.message()


@pytest.mark.parametrize("size", ["x", "-1", "999999", str(2**32)])
def test_a_wrong_header_length_is_400(multi, size):
    answer = multi.call("POST", "/v2/models/vector.tar.gz/infer", {"Inference-Header-Content-Length": size}, json=ONES)
    assert answer.status_code == 400
    assert answer.json()["error"]
