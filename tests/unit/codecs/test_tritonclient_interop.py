"""Bodies that the real tritonclient writes are read, and our answers are read by it."""

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as client

from tests.unit.codecs.codec_archives import SAGEMAKER, archive, ask, document, echo, tensor, written

Client = client.InferenceServerClient
ARRAYS = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "INT64": np.array([[2**53 + 1, -(2**63)]]),
    "UINT64": np.array([[2**64 - 1, 0]], np.uint64),
    "FP16": np.array([[0.5, -2]], np.float16),
    "FP32": np.array([[0.1, np.inf]], np.float32),
    "FP64": np.array([[0.1, 1e300]]),
    "BYTES": np.array([["é".encode(), b""]], object),
}


def sent(datatype, array, binary_data, **options):
    entry = client.InferInput("X", list(array.shape), datatype)
    entry.set_data_from_numpy(array, binary_data=binary_data)
    return Client.generate_request_body([entry], **options)


def headers(size, is_kserve):
    """What the client puts on the request: KServe's header, or (as AWS's notebooks do) SageMaker's Content-Type."""
    if is_kserve:
        return {"content_type": "", "json_header_size": size}
    return {"content_type": f"{SAGEMAKER};json-header-size={size}" if size is not None else "application/octet-stream"}


def result(answer, body):
    size = answer.headers.get("inference-header-content-length")
    if size is not None and answer.content_type != "application/octet-stream":
        assert answer.content_type == f"{SAGEMAKER};json-header-size={size}"
    return Client.parse_response_body(body, header_length=None if size is None else int(size))


@pytest.mark.parametrize("is_kserve", [True, False])
@pytest.mark.parametrize("datatype", ARRAYS)
def test_binary_there_and_back(datatype, is_kserve):
    array = ARRAYS[datatype]
    body, size = sent(datatype, array, binary_data=True, request_id="7")
    decoded = ask(echo(datatype, (2,), 4), body, **headers(size, is_kserve))
    np.testing.assert_array_equal(decoded.request.inputs["X"].data, array, strict=True)
    got = result(*written(decoded, tensor("Y", datatype, array.ravel().tolist(), array.shape)))
    np.testing.assert_array_equal(got.as_numpy("Y"), array, strict=True)
    assert got.get_response()["id"] == "7"


@pytest.mark.parametrize("datatype", sorted(ARRAYS.keys() - {"FP16"}))
def test_json_there_and_back(datatype):
    array = ARRAYS[datatype]
    finite = np.where(np.isinf(array), 1, array) if datatype == "FP32" else array
    outputs = [client.InferRequestedOutput("Y", binary_data=False)]
    body, size = sent(datatype, finite.astype(array.dtype), binary_data=False, outputs=outputs)
    decoded = ask(echo(datatype, (2,), 4), body, **headers(size, is_kserve=True))
    np.testing.assert_array_equal(decoded.request.inputs["X"].data, finite)
    got = result(*written(decoded, tensor("Y", datatype, finite.ravel().tolist(), array.shape))).as_numpy("Y")
    expected = np.array([["é", ""]], object) if datatype == "BYTES" else finite
    np.testing.assert_array_equal(got, expected)


def test_infinity_in_json_is_read():
    body, size = sent("FP32", ARRAYS["FP32"], binary_data=False)
    assert size is None
    np.testing.assert_array_equal(ask(echo("FP32", (2,), 4), body).request.inputs["X"].data, ARRAYS["FP32"])


def test_nan_in_our_json_is_read_as_nan():
    answer, body = written(ask(echo("FP32"), document([1, 2])), tensor("Y", "FP32", [np.nan, 1]))
    np.testing.assert_array_equal(result(answer, body).as_numpy("Y"), np.array([np.nan, 1], np.float32))


def test_bfloat16():
    array = np.array([1.5, -2], ml_dtypes.bfloat16)
    body, size = sent("BF16", array, binary_data=True)
    bits = ask(echo("BF16"), body, **headers(size, is_kserve=True)).request.inputs["X"].data
    assert bits.view(ml_dtypes.bfloat16).tolist() == [1.5, -2]


def test_plain_json_with_binary_answer_needs_no_framing_in_the_request():
    """The client names no header size for such a request, so the answer has to carry both framings."""
    body, size = sent("FP32", np.ones((1, 2), np.float32), binary_data=False)
    assert size is None
    got = result(*written(ask(echo("FP32", (2,), 4), body), tensor("Y", "FP32", [[3, 4]])))
    assert got.as_numpy("Y").tolist() == [[3, 4]]


@pytest.mark.parametrize("binary_data", [True, False])
def test_zero_size(binary_data):
    body, size = sent("FP32", np.zeros((0, 2), np.float32), binary_data=binary_data)
    decoded = ask(echo("FP32", (2,), 4), body, **headers(size, is_kserve=True))
    assert decoded.request.inputs["X"].shape == (0, 2)
    assert result(*written(decoded, tensor("Y", "FP32", [], (0, 2)))).as_numpy("Y").shape == (0, 2)


@pytest.mark.parametrize("binary_data", [True, False])
def test_classification(binary_data):
    outputs = [client.InferRequestedOutput("Y", binary_data=binary_data, class_count=1)]
    body, size = sent("FP32", np.ones((1, 2), np.float32), binary_data=True, outputs=outputs)
    target = archive([("X", "FP32", (2,))], [("Y", "FP32", (2,), False, ("no", "yes"))], 4)
    answer, raw = written(ask(target, body, **headers(size, is_kserve=True)), tensor("Y", "FP32", [[1, 2]]))
    (label,) = result(answer, raw).as_numpy("Y").ravel()
    assert label in ("2.000000:1:yes", b"2.000000:1:yes")


def test_parameters():
    options = {"sequence_id": 3, "sequence_start": True, "priority": 1, "timeout": 9, "parameters": {"a": "b"}}
    body, size = sent("FP32", np.ones((1, 2), np.float32), binary_data=True, **options)
    request = ask(echo("FP32", (2,), 4), body, **headers(size, is_kserve=True)).request
    assert dict(request.parameters) == {
        "sequence_id": 3, "sequence_start": True, "sequence_end": False, "priority": 1, "timeout": 9, "a": "b",
    }  # fmt: skip
