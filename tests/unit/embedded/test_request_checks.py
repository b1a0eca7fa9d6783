"""What a request may look like, and what it is told when it does not."""

import numpy as np
import pytest

from server.domain.errors import InvalidRequest
from server.domain.inference import InferenceRequest, Tensor
from server.domain.model import ModelSignature, TensorSpec
from server.engines.embedded.config.checks import RequestCheck

SIGNATURE = ModelSignature(
    platform="onnxruntime_onnx",
    max_batch_size=4,
    inputs=(
        TensorSpec("ids", "INT64", (-1, 2)),
        TensorSpec("scale", "FP32", (1,), is_optional=True),
    ),
    outputs=(TensorSpec("out", "FP32", (3,)),),
)


def request(outputs=(), **arrays):
    names = {np.dtype("int64"): "INT64", np.dtype("float32"): "FP32", np.dtype("int32"): "INT32"}
    return InferenceRequest({name: Tensor(name, names[data.dtype], data) for name, data in arrays.items()}, outputs)


def ids(*shape):
    return np.zeros(shape, np.int64)


def refusal(request_, signature=SIGNATURE):
    with pytest.raises(InvalidRequest) as caught:
        RequestCheck("encoder", signature).check(request_)
    return str(caught.value)


@pytest.mark.parametrize("shape", [(1, 5, 2), (4, 0, 2), (2, 1, 2)])
def test_a_request_that_fits_passes(shape):
    assert RequestCheck("encoder", SIGNATURE).check(request(ids=ids(*shape), outputs=("out",))) is None


def test_optional_inputs_may_be_sent():
    assert (
        RequestCheck("encoder", SIGNATURE).check(request(ids=ids(2, 1, 2), scale=np.ones((2, 1), np.float32))) is None
    )


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (request(), ["'encoder'", "input 'ids' missing", "got none"]),
        (request(ids=ids(1, 5, 2), more=ids(1)), ["no input 'more'", "'ids', 'scale'"]),
        (request(ids=np.zeros((1, 5, 2), np.int32)), ["'ids'", "must be INT64", "got INT32"]),
        (request(ids=ids(1, 5, 3)), ["'ids'", "[-1, -1, 2]", "batch axis first, up to 4", "got [1, 5, 3]"]),
        (request(ids=ids(5, 2)), ["got [5, 2]"]),
        (request(ids=ids()), ["got []"]),
        (request(ids=ids(5, 1, 2)), ["batch size", "1 to 4", "got 5"]),
        (request(ids=ids(0, 1, 2)), ["batch size", "1 to 4", "got 0"]),
        (request(ids=ids(2, 1, 2), scale=np.ones((3, 1), np.float32)), ["same batch size", "'ids': 2", "'scale': 3"]),
        (request(ids=ids(1, 1, 2), outputs=("nope",)), ["no output 'nope'", "'out'"]),
    ],
)
def test_a_refusal_names_the_tensor_what_was_expected_and_what_came(bad, words):
    message = refusal(bad)
    assert all(word in message for word in words), message


def test_an_array_must_have_the_type_that_its_datatype_says():
    lying = InferenceRequest({"ids": Tensor("ids", "INT64", np.zeros((1, 1, 2), np.float64))})
    assert "got numpy float64" in refusal(lying)


def test_without_batching_the_shape_is_the_whole_shape():
    signature = ModelSignature("x", 0, (TensorSpec("ids", "INT64", (-1, 2)),), ())
    assert RequestCheck("m", signature).check(request(ids=ids(100, 2))) is None
    assert "must have shape [-1, 2], got [1, 5, 2]" in refusal(request(ids=ids(1, 5, 2)), signature)
