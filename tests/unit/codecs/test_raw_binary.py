"""Raw requests: the whole body is the only input's data."""

import numpy as np
import pytest

from server.domain.errors import InvalidRequest
from tests.unit.codecs.codec_archives import SAGEMAKER, archive, ask, echo, tensor, written

RAW = f"{SAGEMAKER};json-header-size=0"


@pytest.mark.parametrize(
    ("dims", "batch", "shape"),
    [((-1,), 0, (3,)), ((3,), 0, (3,)), ((-1,), 4, (1, 3)), ((-1, 3), 0, (1, 3)), ((3, -1), 0, (3, 1))],
)
def test_the_shape_is_deduced(dims, batch, shape):
    body = np.arange(3, dtype=np.int32).tobytes()
    got = ask(echo("INT32", dims, batch), body, RAW).request.inputs["X"].data
    assert (shape, [0, 1, 2]) == (got.shape, got.ravel().tolist())


@pytest.mark.parametrize(("batch", "shape"), [(0, (1,)), (4, (1, 1))])
def test_bytes_are_one_element(batch, shape):
    got = ask(echo("BYTES", (1,), batch), b"\xff\x00abc", RAW).request.inputs["X"].data
    assert (shape, b"\xff\x00abc") == (got.shape, got.item())


def test_kserve_header_of_zero():
    assert ask(echo("UINT8"), b"\7", json_header_size=0).request.inputs["X"].data.tolist() == [7]


@pytest.mark.parametrize("content_type", ["", "application/json", "application/octet-stream", RAW])
def test_an_empty_body_is_raw(content_type):
    decoded = ask(echo("FP32"), b"", content_type)
    assert decoded.request.inputs["X"].shape == (0,)


def test_an_empty_body_for_several_inputs():
    with pytest.raises(InvalidRequest, match="the request body is empty"):
        ask(archive([("A", "FP32", (1,)), ("B", "FP32", (1,))], [("Y", "FP32", (1,))]), b"")


@pytest.mark.parametrize(
    ("target", "body", "message"),
    [
        (echo("FP32"), b"12345", "Expected 4, got 5"),
        (echo("FP32", (2,)), b"1234", "Expected 8, got 4"),
        (echo("FP32", (-1, -1)), b"1234", "cannot be deduced"),
        (echo("BYTES", (2,)), b"1234", r"needs shape \[1\]"),
        (echo("FP32", (0, -1)), b"1234", "Expected 0, got 4"),
        (archive([("A", "FP32", (1,)), ("B", "FP32", (1,))], [("Y", "FP32", (1,))]), b"1234", "exactly one input"),
    ],
)
def test_what_cannot_be_raw(target, body, message):
    with pytest.raises(InvalidRequest, match=message):
        ask(target, body, RAW)


def test_all_outputs_come_back_binary():
    answer, body = written(ask(echo("UINT8"), b"\7", RAW), tensor("Y", "UINT8", [1, 2]))
    assert answer.content_type.startswith(SAGEMAKER)
    assert body.endswith(b"\1\2")


def test_the_kserve_framing_is_answered_in_kind():
    answer, _ = written(ask(echo("UINT8"), b"\7", json_header_size=0), tensor("Y", "UINT8", [1, 2]))
    assert answer.content_type == "application/octet-stream"


def test_json_if_only_that_is_accepted():
    answer, _ = written(ask(echo("UINT8"), b"\7", RAW, "application/json"), tensor("Y", "UINT8", [1, 2]))
    assert answer.content_type == "application/json"
