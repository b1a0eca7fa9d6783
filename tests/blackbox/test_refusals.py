"""Sections 4.1 to 4.3: requests that do not fit are refused with a 400 that says why, and harm nothing."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.blackbox.client import framed, kserve, outputs, tensor

VECTOR = [1.0, 2.0, 3.0]
RAW = np.array(VECTOR, dtype="<f4").tobytes()


def vector(**more):
    """A request for `vector.tar.gz`."""
    return {**kserve(tensor(VECTOR, [3])), **more}


def ranked(count):
    """`outputs` that ask for a classification."""
    return [{"name": "OUTPUT0", "parameters": {"classification": count}}]


class Bad(NamedTuple):
    """A document that is refused with 400, on both routes."""

    says: str
    document: Any
    archive: str = "vector.tar.gz"
    words: str = ""


def entry(**changes):
    """`vector` with its one input changed; a value of None leaves the key out."""
    changed = {**tensor(VECTOR, [3]), **changes}
    return {"inputs": [{key: value for key, value in changed.items() if value is not None}]}


BAD = [
    Bad("not JSON", b"{nonsense"),
    Bad("not UTF-8", b'{"id": "\xff"}'),
    Bad("not an object", []),
    Bad("no inputs", {}),
    Bad("inputs that are no list", {"inputs": {}}),
    Bad("an input that is no object", {"inputs": [1]}),
    Bad("nested 100,000 deep", b"[" * 100_000),
    Bad("an unknown input", entry(name="STRANGER"), words="STRANGER"),
    Bad("an input twice", {"inputs": [tensor(VECTOR, [3])] * 2}),
    Bad("a missing input", {"inputs": [tensor([True], [1], "BOOL", "IN_BOOL")]}, "typed.tar.gz", "IN_INT8"),
    Bad("an unknown output", vector(outputs=[{"name": "STRANGER"}]), words="STRANGER"),
    Bad("a wrong datatype", entry(datatype="INT32", data=[1, 2, 3]), words="INT32"),
    Bad("an unknown datatype", entry(datatype="FP12")),
    Bad("fewer elements than the shape", entry(data=[1.0])),
    Bad("more elements than the shape", entry(data=[1.0] * 4)),
    Bad("a negative shape", entry(shape=[-3])),
    Bad("a shape of fractions", entry(shape=[1.5])),
    Bad("a shape of overflow", entry(shape=[2**62, 2**62])),
    Bad("a shape of another rank", entry(shape=[1, 3])),
    Bad("a shape that the model does not take", kserve(tensor([1.0] * 3, [1, 3])), "linear.tar.gz"),
    Bad("a batch over the limit", kserve(tensor([1.0] * 36, [9, 4])), "linear.tar.gz", "8"),
    Bad("no shape", entry(shape=None)),
    Bad("no data", entry(data=None)),
    Bad("data and binary at once", entry(parameters={"binary_data_size": 12})),
    Bad("shared memory", entry(data=None, parameters={"shared_memory_region": "x", "shared_memory_byte_size": 12})),
    Bad("a text for a number", entry(data=["1", "2", "3"])),
    Bad("a number for a text", kserve(tensor([1], [1], "BYTES")), "words.tar.gz"),
    Bad("a number out of range", kserve(tensor([256], [1], "UINT8", "IN_UINT8")), "typed.tar.gz"),
    Bad("FP16 as JSON", kserve(tensor([1.0], [1], "FP16")), "half.tar.gz", "FP16"),
    Bad("an id that is no text", vector(id=5)),
    Bad("a reserved parameter", vector(parameters={"triton_enable_empty_final_response": True}), words="triton_"),
    Bad("a negative classification", vector(outputs=ranked(-1))),
    Bad(
        "classification of texts",
        {**kserve(tensor(["a"], [1], "BYTES")), "outputs": ranked(1)},
        "words.tar.gz",
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.says)
def test_what_does_not_fit_is_refused(multi, bad):
    data = bad.document if isinstance(bad.document, bytes) else json.dumps(bad.document).encode()
    for answer in (multi.ask(bad.archive, data=data), multi.invoke(bad.archive, data=data)):
        assert answer.status_code == 400, answer.text
        assert answer.headers["Content-Type"] == "application/json"
        assert bad.words in answer.json()["error"]


@pytest.mark.parametrize(
    ("size", "tail", "words"),
    [
        (12, RAW[:8], "4 additional bytes"),
        (12, RAW + b"\0", "additional input data"),
        (8, RAW[:8], "Expected 12, got 8"),
    ],
    ids=["too short", "too long", "not the shape's"],
)
def test_binary_data_of_the_wrong_length_is_refused(multi, size, tail, words):
    binary = {"name": "INPUT0", "shape": [3], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    answer = multi.ask("vector.tar.gz", **framed({"inputs": [binary]}, tail))
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("tail", [b"\5\0\0\0abc", b"\1\0\0", b"\xff\xff\xff\xffabcd"])
def test_texts_whose_lengths_lie_are_refused(multi, tail):
    entry = {"name": "INPUT0", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(tail)}}
    assert multi.ask("words.tar.gz", **framed({"inputs": [entry]}, tail)).status_code == 400


def test_after_all_that_the_archives_still_answer(multi):
    assert outputs(multi.ask("vector.tar.gz", vector())) == {"OUTPUT0": VECTOR}
    assert multi.get("/ping").status_code == 200
