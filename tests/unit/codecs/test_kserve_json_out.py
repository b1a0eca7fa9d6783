"""KServe JSON answers: key order, values, and what JSON cannot say."""

import json

import numpy as np
import pytest

from server.domain.errors import InferenceFailed, InvalidRequest
from server.domain.inference import Tensor
from tests.unit.codecs.codec_archives import archive, ask, document, echo, tensor, written

TWO = archive([("X", "FP32", (-1,))], [("Y", "FP32", (-1,)), ("Z", "BYTES", (-1,))])


def test_the_whole_answer_byte_for_byte():
    decoded = ask(TWO, document([1, 2], id="7"))
    answer, body = written(
        decoded, tensor("Y", "FP32", [0.1, 2]), tensor("Z", "BYTES", ["é".encode()]), model="a/b", p=1
    )
    assert (
        '{"id":"7","model_name":"a/b","model_version":"1","parameters":{"p":1},"outputs":['
        '{"name":"Y","datatype":"FP32","shape":[2],"data":[0.1,2.0]},'
        '{"name":"Z","datatype":"BYTES","shape":[1],"data":["é"]}]}'
    ).encode() == body
    assert (answer.content_type, dict(answer.headers)) == ("application/json", {})


def test_without_id_and_parameters():
    _, body = written(ask(TWO, document([1, 2])), tensor("Y", "FP32", [1]))
    assert list(json.loads(body)) == ["model_name", "model_version", "outputs"]


def test_only_the_asked_outputs_in_the_asked_order():
    decoded = ask(TWO, document([1, 2], outputs=[{"name": "Z"}]))
    _, body = written(decoded, tensor("Y", "FP32", [1]), tensor("Z", "BYTES", [b"x"]))
    assert [output["name"] for output in json.loads(body)["outputs"]] == ["Z"]


def test_nan_and_infinity_become_null():
    _, body = written(ask(TWO, document([1, 2])), tensor("Y", "FP32", [np.nan, np.inf, -np.inf, 1]))
    assert json.loads(body)["outputs"][0]["data"] == [None, None, None, 1.0]


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("INT64", [2**63 - 1, -(2**63)]),
        ("UINT64", [2**64 - 1]),
        ("BOOL", [True, False]),
        ("UINT8", [0, 255]),
        ("FP64", [0.1]),
    ],
)
def test_values(datatype, values):
    request = document([False] if datatype == "BOOL" else [0], (1,), datatype)
    _, body = written(ask(echo(datatype), request), tensor("Y", datatype, values))
    assert values == json.loads(body)["outputs"][0]["data"]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(6, dtype=np.float32)[::2],
        np.zeros((0, 3), np.float32),
        np.broadcast_to(np.float32(1), (2, 2)),
    ],
)
def test_any_memory_layout_is_written_row_major(array):
    _, body = written(ask(TWO, document([1, 2])), Tensor("Y", "FP32", array))
    output = json.loads(body)["outputs"][0]
    assert (list(array.shape), array.ravel().tolist()) == (output["shape"], output["data"])


def test_bytes_that_are_not_text_advise_binary():
    with pytest.raises(InvalidRequest, match=r"'Z' holds bytes that are not UTF-8.*binary_data"):
        written(ask(TWO, document([1, 2])), tensor("Z", "BYTES", [b"\xff"]))


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_are_refused_before_the_model_runs(datatype):
    target = archive([("X", "FP32", (-1,))], [("Y", datatype, (-1,)), ("Z", "FP32", (-1,))])
    with pytest.raises(InvalidRequest, match=f"sending {datatype} data via JSON is not supported"):
        ask(target, document([1, 2]))
    assert ask(target, document([1, 2], outputs=[{"name": "Z"}])).request.outputs == ("Z",)


def test_half_floats_from_a_model_that_declared_otherwise():
    with pytest.raises(InvalidRequest, match="sending FP16"):
        written(ask(TWO, document([1, 2])), tensor("Y", "FP16", [1]))


def test_parameters_that_json_cannot_say_are_the_models_fault():
    with pytest.raises(InferenceFailed, match="cannot be written as JSON"):
        written(ask(TWO, document([1, 2])), tensor("Y", "FP32", [1]), huge=2**70)
