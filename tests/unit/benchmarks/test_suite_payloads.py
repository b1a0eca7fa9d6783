"""Bodies that scenarios send: the same tensor as numbers and as bytes, and what peers get instead."""

import json

import numpy as np
import pytest

from benchmarks.baselines.peers.catalogue import PEERS
from benchmarks.baselines.peers.peer import as_text
from benchmarks.payloads import Body, archive_file, binary_tensor, json_numbers, touch_store
from benchmarks.scenarios import diffusion, zero_shot
from benchmarks.workloads import sentence_bodies

BYTES = np.array([[0, 127, 255]], np.uint8)


def test_numbers_and_bytes_describe_the_same_tensor():
    (listed,) = json.loads(json_numbers("INPUT0", BYTES).content)["inputs"]
    body = binary_tensor("INPUT0", BYTES)
    size = int(body.headers["content-type"].rsplit("=", 1)[1])
    (framed,) = json.loads(body.content[:size])["inputs"]
    assert (listed["data"], body.content[size:]) == ([0, 127, 255], b"\x00\x7f\xff")
    assert all(listed[field] == framed[field] for field in ("name", "shape", "datatype"))
    assert framed["parameters"] == {"binary_data_size": 3}


def test_a_load_carries_any_bytes_unchanged():
    load = Body(b"\x00\xff", {"content-type": "image/jpeg"}).load(8080, "photo", 4, 1.0)
    assert load.raw_bodies() == [b"\x00\xff"]
    assert load.headers == {"content-type": "image/jpeg", "x-amzn-sagemaker-target-model": "photo"}


def test_a_missing_archive_is_told_with_how_to_get_it():
    with pytest.raises(RuntimeError, match="make archives"):
        archive_file("none-such.tar.gz")


def test_the_touching_model_lies_as_archives_do(tmp_path):
    folder = touch_store(tmp_path)
    assert (folder / "touch/config.pbtxt").is_file()
    assert (folder / "touch/1/model.onnx").stat().st_size < 1000


def test_a_peer_gets_the_same_text():
    (body,) = sentence_bodies(["a text"])
    assert json.loads(as_text(body)) == {"text": "a text"}
    assert len({peer.name for peer in PEERS}) == len(PEERS)


def test_requests_differ_so_that_no_answer_can_be_remembered():
    assert len(set(zero_shot.bodies(4))) == len(zero_shot.bodies(4))
    assert len(set(diffusion.bodies(2))) == len(diffusion.bodies(2))
    for body in zero_shot.bodies(64, count=3):
        labels = json.loads(body)["parameters"]["candidate_labels"]
        assert len(set(labels)) == len(labels) == 64
