"""Large numeric lists take a faster road, which must lead to the same place."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.codecs import large_lists
from server.domain.errors import InvalidRequest
from tests.unit.codecs.codec_archives import archive, ask, document, echo

SIDE = 120
IMAGE = (np.arange(SIDE * SIDE * 3) % 251).astype(np.uint8).reshape(SIDE, SIDE, 3)
SEPARATORS = [(",", ":"), (", ", ": ")]


def body(data, shape=IMAGE.shape, datatype="UINT8", separators=(",", ":"), **options):
    return json.dumps(document(data, shape, datatype, **options), separators=separators).encode()


def took_the_fast_road(raw):
    return large_lists.load(raw) is not None


@pytest.mark.parametrize("separators", SEPARATORS)
@pytest.mark.parametrize(
    "data", [IMAGE.tolist(), IMAGE.ravel().tolist(), [IMAGE.ravel().tolist()], IMAGE.reshape(-1, 3).tolist()]
)
@pytest.mark.parametrize("datatype", ["UINT8", "INT16", "INT64", "UINT64", "FP32", "FP64"])
def test_images(data, separators, datatype):
    raw = body(data, datatype=datatype, separators=separators)
    assert took_the_fast_road(raw)
    got = ask(echo(datatype, (-1, -1, 3)), raw).request.inputs["X"].data
    np.testing.assert_array_equal(got, IMAGE)


def test_fractions_and_signs():
    values = (np.linspace(-2, 2, 20_000) ** 5).tolist()
    raw = body([values], (20_000,), "FP64")
    assert took_the_fast_road(raw)
    assert ask(echo("FP64"), raw).request.inputs["X"].data.tolist() == values


def test_several_inputs_and_small_lists_between():
    target = archive([("A", "FP32", (-1,)), ("B", "BYTES", (-1,)), ("C", "INT32", (-1,))], [("Y", "FP32", (1,))])
    many = list(range(20_000))
    doc = document(many, (20_000,), "FP32", "A")
    doc["inputs"] += document(['"data":[1,2]', "}"], (2,), "BYTES", "B")["inputs"]
    doc["inputs"] += [{"data": many, **document(None, (20_000,), "INT32", "C")["inputs"][0]}]
    raw = json.dumps(doc).encode()
    assert took_the_fast_road(raw)
    inputs = ask(target, raw).request.inputs
    assert inputs["A"].data.tolist() == inputs["C"].data.tolist() == many
    assert inputs["B"].data.tolist() == [b'"data":[1,2]', b"}"]


@pytest.mark.parametrize(
    ("datatype", "last", "message"),
    [
        ("UINT8", 256, "does not fit UINT8"),
        ("INT8", 128, "does not fit INT8"),
        ("INT32", 2**31, "does not fit INT32"),
        ("INT32", 0.5, "must hold integers"),
        ("BOOL", 1, "must hold true or false"),
        ("BYTES", 1, "must hold strings"),
        ("INT32", True, "must hold integers"),
        ("INT32", "7", "must hold integers"),
        ("INT32", None, "must hold integers"),
    ],
)
def test_refusals_are_the_same(datatype, last, message):
    with pytest.raises(InvalidRequest, match=message):
        ask(echo(datatype), body([0] * 40_000 + [last], (40_001,), datatype))


@pytest.mark.parametrize("last", [2**63 - 1, 2**53 + 1, -(2**63), 10**18])
def test_64_bits_stay_exact(last):
    raw = body([1] * 40_000 + [last], (40_001,), "INT64")
    assert ask(echo("INT64"), raw).request.inputs["X"].data[-1] == last


def test_wrong_counts():
    with pytest.raises(InvalidRequest, match="has 40000 elements, which does not fit shape"):
        ask(echo("UINT8"), body([1] * 40_000, (40_001,)))


@pytest.mark.parametrize("key", ["large list", "other"])
def test_marks_of_the_callers_own_are_no_way_in(key):
    doc = document([1] * 40_000, (40_000,), "UINT8")
    doc["inputs"].append(document({key: 0}, (1,), "UINT8", "Q")["inputs"][0])
    assert large_lists.load(json.dumps(doc).encode()) is None


FILLER = "1," * 20_000


@pytest.mark.parametrize(
    "text",
    [
        "[{}1]",
        "[[{}1],[2,3]]",
        "[{}1,]",
        "[{},1]",
        "[{}1 2]",
        "[{}1  ,2]",
        "[{}-]",
        "[{}1-2]",
        "[{}1.2.3]",
        "[{}1e]",
        "[[{}1][2]]",
        "[{}1],[2]",
        "[[{}1]",
        "[{}1]]",
        "[{}[]]",
        "[{}1,[2]]",
        "[{}nan]",
        "[{}1\n]",
        "[{}1]2",
        "[{}1",
        "[,{}1]",
    ],
)
def test_what_is_no_json_is_none_here_either(text):
    """The fast road gives what the usual parser gives, or nothing."""
    raw = b'{"inputs":[{"data":%b}]}' % text.format(FILLER).encode()
    got = large_lists.load(raw)
    if got is not None:
        expected = np.array(list(_leaves(orjson.loads(raw)["inputs"][0]["data"])))
        np.testing.assert_array_equal(np.asarray(got["inputs"][0]["data"]), expected)


def _leaves(data):
    for item in data:
        yield from _leaves(item) if isinstance(item, list) else (item,)


@given(st.lists(st.tuples(st.integers(0, 40_000), st.sampled_from(list('[], 0-1.e"}{:a\n'))), min_size=1, max_size=3))
def test_patched_documents_agree_with_the_usual_parser(patches):
    raw = bytearray(b'{"inputs":[{"data":[[%b1],[2,3]],"name":"X"}]}' % FILLER.encode())
    for position, character in patches:
        raw[position % len(raw)] = ord(character)
    got = large_lists.load(bytes(raw))
    if got is not None:
        expected = orjson.loads(_without_leading_zeros(bytes(raw)))["inputs"][0]["data"]
        np.testing.assert_array_equal(np.asarray(got["inputs"][0]["data"]), np.array(list(_leaves(expected))))


def _without_leading_zeros(raw):
    """The fast road does not notice leading zeros, which JSON forbids."""
    import re

    return re.sub(rb"(?<![0-9.])0+(?=[0-9])", b"", raw)
