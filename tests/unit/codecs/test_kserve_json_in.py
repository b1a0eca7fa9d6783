"""KServe JSON requests: what is read, and what is refused with which words."""

import numpy as np
import pytest

from server.domain.errors import InvalidRequest
from tests.unit.codecs.codec_archives import archive, ask, document, echo

PAIR = archive([("A", "FP32", (2,)), ("B", "BYTES", (1,), True)], [("Y", "FP32", (2,)), ("Z", "INT64", (2,))], 4)


def data_of(datatype, data, shape=None, dims=(-1,)):
    size = len(data) if shape is None else shape
    return (
        ask(echo(datatype, dims), document(data, (size,) if shape is None else shape, datatype))
        .request.inputs["X"]
        .data
    )


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT64", [2**53 + 1, -(2**63), 2**63 - 1]),
        ("UINT64", [2**64 - 1, 1, 2**63]),
        ("INT8", [-128, 127]),
        ("UINT8", [0, 255]),
        ("INT16", [-(2**15), 2**15 - 1]),
        ("UINT16", [2**16 - 1]),
        ("INT32", [-(2**31), 2**31 - 1]),
        ("UINT32", [2**32 - 1]),
        ("FP32", [0.5, 3, -1e-3]),
        ("FP64", [0.1, 1e300]),
        ("BOOL", [True, False]),
    ],
)
def test_numbers_are_exact(datatype, data):
    array = data_of(datatype, data)
    assert np.array(data, array.dtype).tolist() == array.tolist()


def test_bytes_are_utf8():
    assert ["é".encode(), b"", "日本".encode()] == data_of("BYTES", ["é", "", "日本"]).tolist()


def test_nested_lists_are_row_major():
    assert data_of("INT32", [[1, 2, 3], [4, 5, 6]], (2, 3), (-1, 3)).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_nesting_need_not_match_the_shape():
    assert data_of("INT32", [1, [2, [3]], 4], (2, 2), (-1, 2)).tolist() == [[1, 2], [3, 4]]


def test_zero_size():
    assert data_of("FP32", [], (0, 3), (-1, 3)).shape == (0, 3)


def test_bare_nan_and_infinity_are_read():
    body = b'{"inputs":[{"name":"X","shape":[3],"datatype":"FP32","data":[NaN,-Infinity,1]}]}'
    got = ask(echo("FP32"), body).request.inputs["X"].data
    np.testing.assert_array_equal(np.array([np.nan, -np.inf, 1], np.float32), got)


@pytest.mark.parametrize("number", [0.1, -0.0, 1e-45, 3.4028235e38, 16777217, 2**63, float("inf")])
def test_few_and_many_numbers_become_the_same_floats(number):
    few, many = data_of("FP32", [number]), data_of("FP32", [number] * 100)
    assert few.tobytes() == many[:1].tobytes() == np.float32(number).tobytes()


@pytest.mark.parametrize(
    ("datatype", "data", "message"),
    [
        ("INT32", [1.0], "must hold integers"),
        ("INT32", ["1"], "must hold integers"),
        ("INT32", [True], "must hold integers"),
        ("INT8", [128], "does not fit INT8"),
        ("UINT64", [-1], "does not fit UINT64"),
        ("INT64", [2**63], "does not fit INT64"),
        ("UINT64", [2**64], "must hold integers"),
        ("FP32", ["1.5"], "must hold numbers"),
        ("FP32", [None], "must hold numbers"),
        ("FP32", [True], "must hold numbers"),
        ("FP32", [1e39], "does not fit FP32"),
        ("FP32", [1e39] * 100, "does not fit FP32"),
        ("FP32", [10**400], "must hold numbers|does not fit FP32|not valid JSON"),
        ("BOOL", [1], "true or false"),
        ("BYTES", [1], "must hold strings"),
        ("FP16", [1.0], "receiving FP16 data via JSON is not supported"),
        ("BF16", [1], "receiving BF16 data via JSON is not supported"),
        ("INT32", [1, ["2"]], "must hold integers"),
        ("INT32", [{}], "must hold integers"),
    ],
)
def test_wrong_elements(datatype, data, message):
    with pytest.raises(InvalidRequest, match=message):
        data_of(datatype, data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": [1.0]}, "1 elements, which does not fit shape"),
        ({"data": [1.0, 2.0, 3.0]}, "3 elements"),
        ({"data": 1.0}, "must be a list"),
        ({"name": "Q"}, "unexpected inference input 'Q'"),
        ({"name": None}, "unexpected inference input None"),
        ({"name": ["X"]}, "unexpected inference input"),
        ({"datatype": "INT32"}, "expects 'FP32'"),
        ({"datatype": ["FP32"]}, "expects 'FP32'"),
        ({"shape": [1, 2]}, r"Expected \[-1\], got \[1, 2\]"),
        ({"shape": [-2]}, "unsigned integers"),
        ({"shape": [2.0]}, "unsigned integers"),
        ({"shape": [True, True]}, "unsigned integers"),
        ({"shape": None}, "unsigned integers"),
        ({"shape": [2**70]}, "unsigned integers"),
        ({"shape": [2**62]}, "does not fit shape"),
        ({"parameters": {"binary_data_size": 8}}, "exactly one"),
        ({"parameters": {"shared_memory_region": "r", "binary_data_size": 8}}, "exactly one"),
        ({"parameters": []}, "unexpected"),
        ({"parameters": [1]}, "must be a JSON object"),
    ],
)
def test_wrong_entries(change, message):
    doc = document([1.0, 2.0])
    doc["inputs"][0].update(change)
    if change == {"parameters": []}:
        assert ask(echo("FP32"), doc).request.inputs["X"].shape == (2,)
        return
    with pytest.raises(InvalidRequest, match=message):
        ask(echo("FP32"), doc)


def test_shared_memory_is_refused_clearly():
    doc = document()
    doc["inputs"][0]["parameters"] = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
    with pytest.raises(InvalidRequest, match="shared memory, which this server does not offer"):
        ask(echo("FP32"), doc)


def test_no_data_at_all():
    with pytest.raises(InvalidRequest, match="exactly one"):
        ask(echo("FP32"), document())


@pytest.mark.parametrize(
    "body",
    [b"{", b"nul", b'{"inputs":[', b"\xff\xfe", b'{"a":"\xff"}', b"[" * 100_000, b'{"a": NaN', b'{"\\ud800": NaN'],
)
def test_broken_json(body):
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        ask(echo("FP32"), body)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b"{}", b'{"inputs":{}}', b'{"inputs":"x"}', b'{"inputs":[1]}'])
def test_json_that_is_no_request(body):
    with pytest.raises(InvalidRequest):
        ask(echo("FP32"), body)


def test_lone_surrogates_are_not_text():
    body = b'{"inputs":[{"name":"X","shape":[1],"datatype":"BYTES","data":["\\ud800"]}],"parameters":{"a":NaN}}'
    with pytest.raises(InvalidRequest, match="not Unicode"):
        ask(echo("BYTES"), body)


def test_batch_over_the_maximum_names_both():
    doc = document([0.0] * 10, (5, 2), name="A")
    with pytest.raises(InvalidRequest, match=r"batch of 5.*at most 4"):
        ask(PAIR, doc)


def test_missing_and_optional_inputs():
    assert {"A"} == set(ask(PAIR, document([0.0] * 2, (1, 2), name="A")).request.inputs)
    with pytest.raises(InvalidRequest, match=r"misses input\(s\) \['A'\]"):
        ask(PAIR, document(["x"], (1, 1), "BYTES", "B"))


def test_twice_the_same_input():
    doc = document([0.0] * 2, (1, 2), name="A")
    doc["inputs"] *= 2
    with pytest.raises(InvalidRequest, match="appears twice"):
        ask(PAIR, doc)


def test_outputs_keep_their_order_and_drop_repeats():
    doc = document([0.0] * 2, (1, 2), name="A", outputs=[{"name": "Z"}, {"name": "Y"}, {"name": "Z"}])
    assert ask(PAIR, doc).request.outputs == ("Z", "Y")


@pytest.mark.parametrize(
    "outputs", [{}, "Y", [1], [{}], [{"name": "Q"}], [{"name": ["Y"]}], [{"name": "Y", "parameters": 1}]]
)
def test_wrong_outputs(outputs):
    with pytest.raises(InvalidRequest):
        ask(PAIR, document([0.0] * 2, (1, 2), name="A", outputs=outputs))


def test_parameters_and_id_are_handed_on():
    doc = document([1, 2], id="r1", parameters={"a": 1, "b": "x", "c": True, "d": 0.5, "binary_data_output": False})
    request = ask(echo("FP32"), doc).request
    assert (request.id, dict(request.parameters)) == ("r1", {"a": 1, "b": "x", "c": True, "d": 0.5})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"triton_x": 1}, "reserved"),
        ({"a": None}, "must be a string"),
        ({"a": [1]}, "must be a string"),
        ({"timeout": -1}, "unsigned"),
        ({"priority": "1"}, "unsigned"),
        ({"sequence_id": 1.5}, "unsigned"),
        ({"sequence_start": 1}, "true or false"),
        ({"sequence_end": "yes"}, "true or false"),
        ({"binary_data_output": 1}, "true or false"),
        ([], "must be a JSON object"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(InvalidRequest, match=message):
        ask(echo("FP32"), document([1, 2], parameters=parameters))


def test_id_must_be_a_string():
    with pytest.raises(InvalidRequest, match="'id' must be a string"):
        ask(echo("FP32"), document([1, 2], id=7))
