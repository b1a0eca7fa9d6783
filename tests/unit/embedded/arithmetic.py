"""Callees that calculate, for tests of ensembles: no files, no runtime."""

import threading
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from server.archive.model_config import ModelConfig, parse
from server.domain.errors import InvalidRequest
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.domain.model import ModelSignature, TensorSpec

Function = Callable[..., Mapping[str, np.ndarray]]


def signature(inputs="a", outputs="x", *, batch=0, dims=(-1,), datatype="FP32", optional=""):
    """A signature with one-letter tensors, all of the same datatype and dims."""
    return ModelSignature(
        platform="test",
        max_batch_size=batch,
        inputs=tuple(TensorSpec(name, datatype, tuple(dims), is_optional=name in optional) for name in inputs),
        outputs=tuple(TensorSpec(name, datatype, tuple(dims)) for name in outputs),
    )


class Callees:
    """Implements `CalleeRunner` over functions from arrays to arrays. `threads` tells where each one ran."""

    def __init__(self, **models: tuple[ModelSignature, Function]) -> None:
        self._models = models
        self.threads: dict[str, str] = {}
        self.requests: dict[str, InferenceRequest] = {}

    def run(self, model_name: str, request: InferenceRequest) -> InferenceResponse:
        self.threads[model_name] = threading.current_thread().name
        self.requests[model_name] = request
        arrays = self._models[model_name][1](**{name: tensor.data for name, tensor in request.inputs.items()})
        return response(arrays)

    def stream(self, model_name: str, request: InferenceRequest) -> Iterator[InferenceResponse]:
        arrays = self._models[model_name][1](**{name: tensor.data for name, tensor in request.inputs.items()})
        for each in arrays if isinstance(arrays, list) else [arrays]:
            yield response(each)

    def signature(self, model_name: str) -> ModelSignature:
        if model_name not in self._models:
            raise InvalidRequest(f"no model {model_name!r}")
        return self._models[model_name][0]


def response(arrays):
    return InferenceResponse(tuple(Tensor(name, "FP32", np.asarray(data)) for name, data in arrays.items()))


def request(*outputs, **numbers):
    """Inputs as FP32 vectors (or the arrays given)."""
    return InferenceRequest(
        {name: Tensor(name, "FP32", np.asarray(data, dtype=np.float32)) for name, data in numbers.items()}, outputs
    )


def ensemble(*steps: tuple[str, str, str]) -> ModelConfig:
    """A config whose steps are `(model, "input=tensor ...", "output=tensor ...")`."""

    def entries(field, pairs):
        maps = [pair.split("=") for pair in pairs.split()]
        return " ".join(f'{field} {{ key: "{key}" value: "{value}" }}' for key, value in maps)

    written = ", ".join(
        f'{{ model_name: "{model}" model_version: -1 {entries("input_map", inputs)} {entries("output_map", outputs)} }}'
        for model, inputs, outputs in steps
    )
    return parse(f'name: "all" platform: "ensemble" ensemble_scheduling {{ step [ {written} ] }}')


def values(answer: InferenceResponse) -> dict[str, list]:
    return {tensor.name: tensor.data.tolist() for tensor in answer.outputs}
