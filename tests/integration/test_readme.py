"""The README's requests work as they stand there, on a server with the demo archives; so does `roundhouse demo`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from builders.checkpoints.sentence_transformers import locate
from tests.integration.live_server import live_server

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = ROOT / "model_repository" / "archives"
BLOCK = re.compile(r"<!-- readme-test: (\w+) -->\n```\w+\n(.*?)```", re.DOTALL)

pytestmark = pytest.mark.builders


def block(name):
    """A marked code block of the README."""
    return dict(BLOCK.findall((ROOT / "README.md").read_text()))[name]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    assert (ARCHIVES / "minilm.tar.gz").is_file(), "the demo archives are missing: make archives"
    with live_server(tmp_path_factory.mktemp("readme"), "--store", ARCHIVES) as running:
        yield running


def run(server, command):
    """What a block prints, with the README's port replaced by the server's."""
    here = [part.replace("localhost:8080", f"127.0.0.1:{server.port}") for part in command]
    return subprocess.run(here, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT).stdout


def test_curl_gets_embeddings_of_similar_sentences(server):
    one, other = json.loads(run(server, ["bash", "-c", block("curl")]))
    assert len(one) == 384
    assert 0.6 < float(np.dot(one, other)) < 0.8  # sentence-transformers says 0.69


def test_boto3_gets_the_topic(server):
    answer = json.loads(run(server, [sys.executable, "-c", block("boto3")]))
    (output,) = answer["outputs"]
    assert output["data"][0].endswith(":sports")


def test_tritonclient_gets_two_vectors(server):
    assert run(server, [sys.executable, "-c", block("tritonclient")]).strip() == "(2, 384)"


def test_curl_gets_a_photos_label(server):
    best, *_ = json.loads(run(server, ["bash", "-c", block("photo")]))
    assert best["label"] == "Egyptian cat"
    assert best["score"] > 0.5


def test_curl_gets_scores_of_labels_that_nobody_trained_for(server):
    answer = json.loads(run(server, ["bash", "-c", block("labels")]))
    assert sorted(answer["labels"]) == ["delivery", "quality"]
    assert answer["scores"] == sorted(answer["scores"], reverse=True)


@pytest.mark.parametrize(("name", "size"), [("mask", (451, 300)), ("advertisement", (600, 400))])
def test_curl_gets_a_picture(server, tmp_path, name, size):
    command = block(name).replace(f"var/{name}.png", str(tmp_path / "answer.png"))
    run(server, ["bash", "-c", command])
    with Image.open(tmp_path / "answer.png") as picture:
        assert picture.size == size


def test_boto3_reads_a_painting_step_by_step(server):
    lines = run(server, [sys.executable, "-c", block("stream")]).splitlines()
    assert {"['progress']"} == set(lines[:-1])
    assert lines[-1] == "['images', 'parameters']"
    assert len(lines) >= 5


def test_the_embeddings_are_those_of_sentence_transformers(server):
    import sentence_transformers

    texts = ["A man is eating food.", "", "Ein Satz über Lokomotiven. 🚂", "word " * 500]
    answer = requests.post(
        f"{server.base_url}/invocations",
        json={"inputs": texts},
        headers={"x-amzn-sagemaker-target-model": "minilm.tar.gz"},
        timeout=60,
    )
    expected = sentence_transformers.SentenceTransformer(str(locate("all-MiniLM-L6-v2")), device="cpu").encode(texts)
    np.testing.assert_allclose(np.array(answer.json()), expected, atol=1e-4)


def test_the_demo_tells_its_story():
    demo = subprocess.run(
        [Path(sys.executable).with_name("roundhouse"), "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    ).stdout
    assert "Real embeddings" in demo
    assert "asked again: resident" in demo
    assert re.search(r"it added 0\.\d\d MB", demo)
    assert "left: minilm.tar.gz" in demo
