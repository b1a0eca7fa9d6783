"""Triton's generate extension: flat JSON to tensors and back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.codecs.registry import decode
from server.domain.errors import InvalidRequest
from server.domain.payload import Payload
from tests.unit.codecs.codec_archives import archive, tensor, written

LLM = archive(
    [("text_input", "BYTES", (1,)), ("max_tokens", "INT32", (1,), True), ("bad_words", "BYTES", (-1,), True)],
    [("text_output", "BYTES", (-1,))],
    8,
)


def generate(target, document, parameters=None):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return decode(Payload(body, "x/y", "image/png", is_generate=True, parameters=parameters or {}), target)


def reply(target, document, *tensors, **parameters):
    """The document that answers."""
    answer, body = written(generate(target, document), *tensors, **parameters)
    assert answer.content_type == "application/json"
    assert b"\n" not in body
    return json.loads(body)


def test_keys_become_tensors_and_parameters():
    request = generate(
        LLM,
        {
            "id": "7",
            "text_input": "hello",
            "max_tokens": 5,
            "bad_words": ["a", "b"],
            "stream": True,
            "parameters": {"temperature": 0.5, "user": "me"},
        },
    ).request
    assert {name: each.data.tolist() for name, each in request.inputs.items()} == {
        "text_input": [[b"hello"]],
        "max_tokens": [[5]],
        "bad_words": [[b"a", b"b"]],
    }
    assert {name: each.datatype for name, each in request.inputs.items()}["max_tokens"] == "INT32"
    assert request.parameters == {"stream": True, "temperature": 0.5, "user": "me"}
    assert request.id == "7"


def test_inputs_may_stand_inside_of_parameters():
    request = generate(LLM, {"text_input": "hi", "parameters": {"max_tokens": 3, "top_p": 1}}).request
    assert request.inputs["max_tokens"].data.tolist() == [[3]]
    assert request.parameters == {"top_p": 1}


def test_what_came_beside_the_body_is_stronger():
    request = generate(LLM, {"text_input": "hi", "session_id": "mine"}, {"session_id": "s"}).request
    assert request.parameters == {"session_id": "s"}


# dims, whether it is batched, how many elements, shape
SHAPES = [
    ((1,), False, 1, (1,)),
    ((-1,), False, 3, (3,)),
    ((-1,), False, 0, (0,)),
    ((2, 3), False, 6, (2, 3)),
    ((-1, 3), False, 6, (2, 3)),
    ((2, -1), False, 6, (2, 3)),
    ((-1, -1), False, 6, (1, 6)),
    ((-1, 2, -1, 3), False, 12, (1, 2, 2, 3)),
    ((1,), True, 3, (3, 1)),
    ((4,), True, 4, (1, 4)),
    ((4,), True, 8, (2, 4)),
    ((-1,), True, 3, (1, 3)),
]


@pytest.mark.parametrize(("dims", "is_batched", "count", "shape"), SHAPES)
def test_a_list_is_laid_into_the_declared_shape(dims, is_batched, count, shape):
    target = archive([("X", "INT64", dims)], [("Y", "INT64", dims)], 8 if is_batched else 0)
    data = generate(target, {"X": list(range(count))}).request.inputs["X"].data
    assert data.shape == shape
    assert data.ravel().tolist() == list(range(count))


@pytest.mark.parametrize(("dims", "count"), [((2,), 3), ((2,), 1), ((1,), 2), ((1,), 0), ((2, -1), 3)])
def test_a_list_that_does_not_fit_is_refused(dims, count):
    target = archive([("X", "INT64", dims)], [("Y", "INT64", dims)])
    with pytest.raises(InvalidRequest, match="'X'"):
        generate(target, {"X": [1] * count})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"{nonsense", "JSON"),
        (b"[1]", "object"),
        (b'"text"', "object"),
        ({}, "text_input"),
        (b"", "text_input"),
        ({"text_input": 5}, "strings"),
        ({"text_input": None}, "strings"),
        ({"text_input": {"a": 1}}, "strings"),
        ({"text_input": [["a", "b"]]}, "elements"),
        ({"text_input": ["a"] * 9}, "at most 8"),
        ({"text_input": "a", "max_tokens": 0.5}, "integers"),
        ({"text_input": "a", "max_tokens": 2**40}, "fit"),
        ({"text_input": "a", "parameters": [1]}, "parameters"),
        ({"text_input": "a", "parameters": {"text_input": "b"}}, "twice"),
        ({"text_input": "a", "stop": ["x"]}, "stop"),
        ({"text_input": "a", "stop": None}, "stop"),
        ({"text_input": "a", "triton_x": 1}, "triton_"),
        ({"text_input": "a", "id": 5}, "id"),
    ],
)
def test_what_does_not_fit_is_refused(document, words):
    with pytest.raises(InvalidRequest, match=words):
        generate(LLM, document)


def test_an_input_may_not_have_the_keywords_name():
    target = archive([("parameters", "BYTES", (1,))], [("Y", "BYTES", (1,))])
    with pytest.raises(InvalidRequest, match="keyword"):
        generate(target, {"parameters": "a"})


def test_fp16_inputs_are_not_read_from_json():
    with pytest.raises(InvalidRequest, match="FP16"):
        generate(archive([("X", "FP16", (1,))], [("Y", "FP16", (1,))]), {"X": 1.0})


def test_answers_are_flat():
    document = reply(
        LLM,
        {"id": "7", "text_input": "a"},
        tensor("text_output", "BYTES", [b"once"], (1, 1)),
        tensor("logits", "FP32", [[0.5, float("nan")]]),
        tensor("empty", "FP32", []),
        done=True,
    )
    assert document == {
        "id": "7",
        "model_name": "m.tar.gz",
        "model_version": "1",
        "text_output": "once",
        "logits": [0.5, None],
        "empty": [],
        "done": True,
    }
    assert list(document)[:3] == ["id", "model_name", "model_version"]


def test_outputs_do_not_hide_who_answers():
    document = reply(LLM, {"text_input": "a"}, tensor("model_name", "BYTES", [b"liar"]), model_version="9")
    assert document == {"model_name": "m.tar.gz", "model_version": "1"}


@pytest.mark.parametrize(("datatype", "stored"), [("FP16", 1.5), ("BF16", 0x3FC0), ("BOOL", True), ("UINT64", 2**63)])
def test_single_elements_are_scalars_of_every_datatype(datatype, stored):
    [value] = [reply(LLM, {"text_input": "a"}, tensor("Y", datatype, [stored]))["Y"]]
    assert value == (1.5 if datatype == "BF16" else stored)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(InvalidRequest, match="UTF-8"):
        reply(LLM, {"text_input": "a"}, tensor("text_output", "BYTES", [b"\xff"]))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_numbers_come_back_as_they_were_sent(values):
    target = archive([("X", "FP32", (-1,))], [("Y", "FP32", (-1,))])
    request = generate(target, {"X": values}).request
    answered = reply(target, {"X": values}, tensor("Y", "FP32", request.inputs["X"].data))["Y"]
    assert np.array(answered, np.float32).ravel().tolist() == values


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["text_input", "max_tokens", "bad_words", "parameters", "id", "sequence_id"]) | st.text(
    max_size=5
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_object_is_read_or_refused(document):
    try:
        request = generate(LLM, document).request
    except InvalidRequest:
        return
    assert request.inputs["text_input"].shape[1:] == (1,)
    assert request.inputs.keys() <= {"text_input", "max_tokens", "bad_words"}
