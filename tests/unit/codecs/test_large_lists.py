"""Large numeric lists take a faster road, which must lead to the same place."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.codecs.kserve import kserve_request
from server.codecs.number_lists import large_lists
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


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("wrap", [list, lambda values: [values]])
def test_fractions_and_signs(wrap, datatype):
    values = (np.linspace(-2, 2, 20_000) ** 5).tolist()
    raw = body(wrap([*values, 3, -(2**63), 2**53 + 1]), (20_003,), datatype)
    assert took_the_fast_road(raw)
    got = ask(echo(datatype), raw).request.inputs["X"].data
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, np.array([*values, 3, -(2.0**63), 2.0**53], got.dtype), strict=True)


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
        ("FP32", 1e39, "does not fit FP32"),
        ("BOOL", 0.5, "must hold true or false"),
        ("BYTES", 0.5, "must hold strings"),
        ("UINT8", -1, "does not fit UINT8"),
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
        "[{}01]",
        "[{}00]",
        "[{}300,07]",
        "[[{}300,07],[1]]",
        "[{}0.5,01]",
        "[{}0.5,true]",
        "[{}0.5,null]",
        "[{}0.5,-1]",
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
        expected = orjson.loads(bytes(raw))["inputs"][0]["data"]
        np.testing.assert_array_equal(np.asarray(got["inputs"][0]["data"]), np.array(list(_leaves(expected))))


def outcome(work):
    """What comes out: the datatype and the numbers, or the refusal's words."""
    try:
        array = work()
    except InvalidRequest as error:
        return str(error)
    return str(array.dtype), array.tolist()


DAMAGE = st.tuples(
    st.integers(0, 40_100), st.integers(0, 2), st.sampled_from(["", ",", " ", "-", ".5", "1e2", "0", "99"])
)


@given(
    st.sampled_from(["UINT8", "INT8", "INT64", "FP32", "FP64", "BOOL"]),
    st.sampled_from([FILLER, FILLER.replace(",", ", "), "1.5," * 10_000, "-7," * 14_000, "300," * 10_000]),
    st.booleans(),
    st.lists(DAMAGE, max_size=2),
)
def test_both_roads_lead_to_the_same_place(datatype, filler, is_nested, damages):
    text = filler + "2"
    for place, length, piece in damages:
        text = text[:place] + piece + text[place + length :]
    data = f"[[{text}]]" if is_nested else f"[{text}]"
    empty = json.dumps(document(None, (filler.count(",") + 1,), datatype))
    raw = empty.replace("}]", f', "data": {data}}}]').encode()
    target = echo(datatype)
    usual = outcome(lambda: decoded_the_usual_way(raw, target))
    assert outcome(lambda: ask(target, raw).request.inputs["X"].data) == usual


def decoded_the_usual_way(raw, target):
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the request is not valid JSON: {error}") from error
    return kserve_request.decode(document, memoryview(b""), target).inputs["X"].data
