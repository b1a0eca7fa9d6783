"""Binary tensors in both framings, in and out."""

import json

import numpy as np
import pytest

from server.domain.errors import InvalidRequest
from tests.unit.codecs.codec_archives import SAGEMAKER, archive, ask, binary, document, echo, tensor, written

FP32 = echo("FP32")
EIGHT = np.array([1.5, -2], np.float32).tobytes()


def sized(size, shape=(2,), datatype="FP32", name="X", **more):
    doc = document(None, shape, datatype, name, **more)
    doc["inputs"][0]["parameters"] = {"binary_data_size": size}
    return doc


def test_sagemaker_framing():
    body, content_type = binary(sized(8), EIGHT)
    assert ask(FP32, body, content_type).request.inputs["X"].data.tolist() == [1.5, -2]


def test_kserve_framing():
    body, _ = binary(sized(8), EIGHT)
    assert ask(FP32, body, "", json_header_size=len(body) - 8).request.inputs["X"].data.tolist() == [1.5, -2]


def test_memoryviews_are_bodies_too():
    body, content_type = binary(sized(8), EIGHT)
    assert ask(FP32, memoryview(body), content_type).request.inputs["X"].data.tolist() == [1.5, -2]


def test_aligned_data_is_not_copied():
    doc = sized(4, (4,), "UINT8")
    body, content_type = binary(doc, b"\1\2\3\4")
    array = ask(echo("UINT8"), body, content_type).request.inputs["X"].data
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))


@pytest.mark.parametrize("padding", range(8))
def test_every_alignment_is_safe(padding):
    body, content_type = binary(sized(16, (2,), "FP64", id="x" * (padding + 1)), np.array([1.5, 2]).tobytes())
    array = ask(echo("FP64"), body, content_type).request.inputs["X"].data
    assert array.flags.aligned
    assert array.tolist() == [1.5, 2]


def test_json_and_binary_inputs_mix():
    target = archive([("X", "FP32", (-1,)), ("B", "BYTES", (-1,)), ("C", "BOOL", (-1,))], [("Y", "FP32", (-1,))])
    doc = sized(8)
    doc["inputs"] += document(["a"], (1,), "BYTES", "B")["inputs"] + sized(3, (3,), "BOOL", "C")["inputs"]
    body, content_type = binary(doc, EIGHT, b"\1\0\7")
    inputs = ask(target, body, content_type).request.inputs
    assert [inputs[name].data.tolist() for name in "XBC"] == [[1.5, -2.0], [b"a"], [True, False, True]]


def test_bytes_elements():
    raw = b"\3\0\0\0abc\0\0\0\0\1\0\0\0\xff"
    body, content_type = binary(sized(len(raw), (3,), "BYTES"), raw)
    assert ask(echo("BYTES"), body, content_type).request.inputs["X"].data.tolist() == [b"abc", b"", b"\xff"]


@pytest.mark.parametrize(
    ("raw", "count", "message"),
    [
        (b"\3\0\0\0ab", 1, "cut off: element 0"),
        (b"\1\0\0\0a\1\0", 2, "cut off: element 1"),
        (b"\xff\xff\xff\xffa", 1, "cut off: element 0"),
        (b"\1\0\0\0a", 2, "has 1 elements, but its shape asks for 2"),
        (b"\1\0\0\0a\0\0\0\0", 1, "has 2 elements"),
        (b"", 10**12, "has 0 elements"),
    ],
)
def test_wrong_bytes_elements(raw, count, message):
    body, content_type = binary(sized(len(raw), (count,), "BYTES"), raw)
    with pytest.raises(InvalidRequest, match=message):
        ask(echo("BYTES"), body, content_type)


@pytest.mark.parametrize(
    ("size", "raw", "message"),
    [
        (8, EIGHT[:4], "unexpected size for input 'X', expecting 4 additional bytes for model 'm.tar.gz'"),
        (8, EIGHT + b"..", "unexpected additional input data for model 'm.tar.gz'"),
        (4, EIGHT[:4], "input byte size mismatch for input 'X' for model 'm.tar.gz'. Expected 8, got 4"),
        (10**15, EIGHT, "unexpected size"),
        (-1, EIGHT, "unsigned integer"),
        (8.0, EIGHT, "unsigned integer"),
        ("8", EIGHT, "unsigned integer"),
        (True, EIGHT, "unsigned integer"),
    ],
)
def test_wrong_sizes(size, raw, message):
    body, content_type = binary(sized(size), raw)
    with pytest.raises(InvalidRequest, match=message):
        ask(FP32, body, content_type)


def test_shapes_beyond_memory_are_refused_before_anything_is_allocated():
    body, content_type = binary(sized(0, (0, 2**62), "FP64"))
    with pytest.raises(InvalidRequest, match="too large"):
        ask(echo("FP64", (-1, -1)), body, content_type)


@pytest.mark.parametrize("suffix", ["", "abc", "; charset=utf-8", ".7"])
@pytest.mark.parametrize("prefix", ["", " ", "+"])
def test_header_sizes_as_triton_reads_them(prefix, suffix):
    body, content_type = binary(sized(8), EIGHT)
    start, number = content_type.split("=")
    assert ask(FP32, body, f"{start}={prefix}{number}{suffix}").request.inputs["X"].shape == (2,)


@pytest.mark.parametrize(
    "content_type", [SAGEMAKER.upper() + ";JSON-Header-Size={}", SAGEMAKER + ' ; json-header-size="{}"']
)
def test_content_types_in_any_case_with_blanks_and_quotes(content_type):
    body, exact = binary(sized(8), EIGHT)
    assert ask(FP32, body, content_type.format(exact.split("=")[1])).request.inputs["X"].shape == (2,)


@pytest.mark.parametrize("size", ["-1", "999999", "2147483648", "4294967296", "9" * 30])
def test_header_sizes_out_of_range(size):
    body, _ = binary(sized(8), EIGHT)
    with pytest.raises(InvalidRequest, match=r"inference header size should be in range \(0, \d+\), got"):
        ask(FP32, body, f"{SAGEMAKER};json-header-size={size}")


@pytest.mark.parametrize("size", ["", "abc", "x12", '""'])
def test_header_sizes_that_are_no_number(size):
    body, _ = binary(sized(8), EIGHT)
    with pytest.raises(InvalidRequest, match="unable to parse inference header size"):
        ask(FP32, body, f"{SAGEMAKER};json-header-size={size}")


@pytest.mark.parametrize("size", [-1, 10**6])
def test_kserve_header_sizes_out_of_range(size):
    with pytest.raises(InvalidRequest, match="in range"):
        ask(FP32, b"{}", json_header_size=size)


@pytest.mark.parametrize("delta", [-1, 1])
def test_header_sizes_that_cut_the_json_elsewhere(delta):
    body, content_type = binary(sized(8), EIGHT)
    start, number = content_type.split("=")
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        ask(FP32, body, f"{start}={int(number) + delta}")


def test_the_binary_type_must_come_first():
    body, content_type = binary(sized(8), EIGHT)
    with pytest.raises(InvalidRequest, match="expect MIME type for binary data starts with"):
        ask(FP32, body, f"x/{content_type}")


def test_the_binary_type_without_a_size_is_json():
    assert ask(FP32, document([1, 2]), SAGEMAKER).request.inputs["X"].shape == (2,)


def test_sagemaker_answers_carry_the_size_in_the_content_type():
    doc = document([1, 2], outputs=[{"name": "Y", "parameters": {"binary_data": True}}])
    answer, body = written(ask(FP32, doc), tensor("Y", "FP32", [1, 2]))
    size = int(answer.content_type.removeprefix(f"{SAGEMAKER};json-header-size="))
    entry = json.loads(body[:size])["outputs"][0]
    assert entry == ({"name": "Y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}})
    assert np.array([1, 2], np.float32).tobytes() == body[size:]


def test_kserve_answers_carry_the_size_in_a_header():
    head = json.dumps(document([1, 2], parameters={"binary_data_output": True})).encode()
    answer, body = written(ask(FP32, head, json_header_size=len(head)), tensor("Y", "FP32", [1, 2]))
    assert answer.content_type == "application/octet-stream"
    assert len(body) - 8 == int(answer.headers["inference-header-content-length"])


def test_binary_output_without_bytes_is_json():
    answer, body = written(
        ask(FP32, document([1, 2], parameters={"binary_data_output": True})), tensor("Y", "FP32", [])
    )
    assert (answer.content_type, dict(answer.headers)) == ("application/json", {})
    assert json.loads(body)["outputs"][0]["parameters"] == {"binary_data_size": 0}


@pytest.mark.parametrize(
    ("wish", "is_binary"), [({}, False), ({"binary_data": False}, False), ({"binary_data": True}, True)]
)
def test_listed_outputs_speak_for_themselves(wish, is_binary):
    doc = document([1, 2], outputs=[{"name": "Y", "parameters": wish}], parameters={"binary_data_output": True})
    answer, _ = written(ask(FP32, doc), tensor("Y", "FP32", [1]))
    assert is_binary == answer.content_type.startswith(SAGEMAKER)


@pytest.mark.parametrize("wish", [{"binary_data": 1}, {"shared_memory_region": "r"}])
def test_wrong_output_parameters(wish):
    with pytest.raises(InvalidRequest):
        ask(FP32, document([1, 2], outputs=[{"name": "Y", "parameters": wish}]))


def test_bytes_go_out_with_their_lengths():
    doc = document(["x"], (1,), "BYTES", parameters={"binary_data_output": True})
    answer, body = written(ask(echo("BYTES"), doc), tensor("Y", "BYTES", [b"ab", b"", b"\xff"]))
    assert body.endswith(b"\2\0\0\0ab\0\0\0\0\1\0\0\0\xff")
    assert len(answer.body) == 2
