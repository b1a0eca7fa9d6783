"""Whole arrays in JSON documents: read at once where they are plain, and always as the usual parser reads them."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from server.codecs.images import json_arrays
from server.codecs.number_lists import large_lists
from server.domain.errors import InvalidRequest

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=4)
INTEGERS = arrays.arrays(np.int64, SHAPES, elements=st.integers(0, 10**6))
FLOATS = arrays.arrays(np.float64, SHAPES, elements=st.floats(-1e6, 1e6))
RAGGED = st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=3), max_leaves=12).filter(
    lambda value: isinstance(value, list)
)
PADDING = large_lists.WORTH_BYTES


@given(st.one_of(INTEGERS, FLOATS), st.sampled_from([None, (",", ":"), (", ", ": ")]))
def test_an_array_comes_back_with_its_shape(array, separators):
    read = large_lists.nested(json.dumps(array.tolist(), separators=separators).encode())
    assert read is not None
    assert read.shape == array.shape
    assert read.tolist() == array.tolist()


@given(RAGGED)
def test_what_is_ragged_is_left_to_others(value):
    read = large_lists.nested(orjson.dumps(value))
    if read is not None:
        assert read.tolist() == value


@given(st.text(alphabet='[]0123456789,.-+eE "{}ax:\\', max_size=40))
def test_no_text_is_read_that_json_would_read_otherwise(text):
    read = large_lists.nested(text.encode())
    if read is not None:
        assert read.tolist() == json.loads(text)


def large(value=7):
    return [[value, 1, 2]] * (PADDING // 6)


DOCUMENTS = [
    {"image": large(), "points": [[1, 2]], "text": "x"},
    {"points": [[1, 2]], "image": large(), "mask_input": large(0.5)},
    {"mask_input": large(), "image": large(9)},
    {"note": 'say "image": [1, 2, 3]', "image": large()},
    {"image": [[1, 2], [3]] * PADDING, "other": 1},
    {"other": {"image": large()}},
    {"image": {"image": large()}},
    {"image": {"array": 0}, "mask_input": large()},
    {"image": "a" * PADDING},
    [large()],
    large(),
    {"inputs": [{"name": "IMAGE", "datatype": "UINT8", "shape": [4], "data": [1, 2, 3, 4]}], "image": large()},
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_a_document_means_what_the_usual_parser_says(document):
    read = json_arrays.load(json.dumps(document).encode(), ("image", "mask_input"))
    plain = json.loads(json.dumps(read, default=lambda array: array.tolist()))
    assert plain == document


def test_large_arrays_of_a_document_are_arrays():
    read = json_arrays.load(json.dumps(DOCUMENTS[1]).encode(), ("image", "mask_input"))
    assert (read["image"].dtype, read["image"].shape[1]) == (np.uint8, 3)
    assert read["mask_input"].dtype == np.float64
    assert read["points"] == [[1, 2]]


@pytest.mark.parametrize(
    "body", [b'{"image": [' + b"1," * PADDING, b'{"image": [' + b"1," * PADDING + b"]}", b"[" * PADDING]
)
def test_what_is_no_json_is_refused(body):
    with pytest.raises(InvalidRequest):
        json_arrays.load(body, ("image",))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x", "must be a list"),
        ([[1], [1, 2]], "equally long"),
        (["1"], "numbers only"),
        ([True], "numbers only"),
        ([10**30], "numbers only"),
        ([None], "numbers only"),
    ],
)
def test_what_is_no_array_is_refused(value, words):
    with pytest.raises(InvalidRequest, match=words):
        json_arrays.array_of(value, "'box'")


def test_hostile_nesting_and_keys_take_no_time():
    """Both were quadratic once: these took minutes."""
    deep = b"[" * 300_000 + b"1" + b"]" * 300_000
    assert large_lists.nested(deep) is None
    with pytest.raises(InvalidRequest):
        json_arrays.load(b'{"image": ' + deep + b"}", ("image",))
    with pytest.raises(InvalidRequest):
        json_arrays.load(b'{"image":[' * 200_000, ("image",))
