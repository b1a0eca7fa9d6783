"""The demo archive as the platform loads it: real weights, string input, on both engines and by every road."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton

from tests.blackbox.client import framed, kserve, outputs, tensor
from tests.blackbox.test_runtime import boto

ARCHIVE = Path(__file__).resolve().parents[2] / "model_repository" / "archives" / "minilm.tar.gz"
TEXTS = ["A man is eating food.", "Someone is having a meal.", "The stock market fell."]
DOCUMENT = kserve(tensor(TEXTS, [3, 1], "BYTES"))
TARGET = "demo/minilm.tar.gz"

pytestmark = pytest.mark.builders


def extract(folder):
    assert ARCHIVE.is_file(), "the demo archives are missing: make archives"
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")


@pytest.fixture(scope="module")
def model(multi):
    """The id of the loaded demo archive."""
    found, url = multi.place(extract)
    answer = multi.load(found, url, TARGET)
    assert answer.status_code == 200, answer.text
    return found


@pytest.fixture(scope="module")
def vectors(multi, model):
    """What the container's own route answers: [3, 384]."""
    return np.array(outputs(multi.invoke(model, DOCUMENT, TARGET))["OUTPUT0"], dtype=np.float32).reshape(3, 384)


def test_texts_become_unit_vectors_that_know_what_is_alike(vectors):
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-4)
    alike, other = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert 0.6 < alike < 0.8  # sentence-transformers says 0.69
    assert other < 0.3


def test_binary_tensors(multi, model, vectors):
    raw = b"".join(len(text).to_bytes(4, "little") + text.encode() for text in TEXTS)
    given = {"name": "INPUT0", "shape": [3, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    wanted = [{"name": "OUTPUT0", "parameters": {"binary_data": True}}]
    answer = multi.invoke(model, **framed({"inputs": [given], "outputs": wanted}, raw))
    size = int(answer.headers["Content-Type"].rpartition("=")[2])
    np.testing.assert_allclose(np.frombuffer(answer.content[size:], "<f4").reshape(3, 384), vectors, atol=1e-5)


def test_texts_in_short(multi, model, vectors):
    several = multi.ask(TARGET, {"inputs": TEXTS})
    np.testing.assert_allclose(np.array(several.json()), vectors, atol=1e-5)
    one = multi.ask(TARGET, data=TEXTS[0].encode(), headers={"Content-Type": "text/plain"})
    np.testing.assert_allclose(np.array(one.json()).ravel(), vectors[0], atol=1e-5)


def test_boto3(multi, model, vectors):
    with boto(multi) as runtime:
        answer = runtime.invoke_endpoint(EndpointName="e", TargetModel=TARGET, Body=json.dumps(DOCUMENT))
    told = json.loads(answer["Body"].read())
    np.testing.assert_allclose(np.array(told["outputs"][0]["data"]).reshape(3, 384), vectors, atol=1e-5)


def test_tritonclient(multi, model, vectors):
    given = triton.InferInput("INPUT0", [3, 1], "BYTES")
    given.set_data_from_numpy(np.array(TEXTS, dtype=object).reshape(3, 1))
    client = triton.InferenceServerClient(multi.live.base_url.removeprefix("http://"))
    try:
        found = client.infer(TARGET, [given]).as_numpy("OUTPUT0")
        assert client.get_model_metadata(TARGET)["outputs"][0]["shape"] == [-1, 384]
    finally:
        client.close()
    np.testing.assert_allclose(found, vectors, atol=1e-5)


def test_long_empty_and_foreign_texts(multi, model):
    texts = ["", "word " * 600, "Ein Satz über Lokomotiven. 🚂"]
    found = np.array(outputs(multi.invoke(model, kserve(tensor(texts, [3, 1], "BYTES"))))["OUTPUT0"])
    np.testing.assert_allclose(np.linalg.norm(found.reshape(3, 384), axis=1), 1, rtol=1e-4)
