"""Whether a request fits a step: names, datatypes, ranks, dims, batch sizes. Pure; runs on the event loop.

Messages name the tensor, what the step expects and what came.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from server.domain.errors import InvalidRequest
from server.domain.inference import NUMPY_BY_DATATYPE, InferenceRequest, Tensor
from server.domain.model import ModelSignature


class RequestCheck:
    """The promises that one step's config makes about its inputs."""

    def __init__(self, name: str, signature: ModelSignature) -> None:
        self._name: Final = name
        self._max_batch_size: Final = signature.max_batch_size
        batch = (-1,) if signature.is_batched else ()
        self._inputs: Final = {
            spec.name: _Expected(spec.datatype, NUMPY_BY_DATATYPE[spec.datatype], (*batch, *spec.dims))
            for spec in signature.inputs
        }
        self._required: Final = frozenset(spec.name for spec in signature.inputs if not spec.is_optional)
        self._outputs: Final = frozenset(spec.name for spec in signature.outputs)

    def check(self, request: InferenceRequest) -> None:
        """Raise InvalidRequest unless `request` fits."""
        if not self._required <= request.inputs.keys():
            missing = sorted(self._required - request.inputs.keys())
            raise InvalidRequest(f"model {self._name!r}: input {_names(missing)} missing; got {_names(request.inputs)}")
        batch = 0
        for name, tensor in request.inputs.items():
            expected = self._inputs.get(name)
            if expected is None:
                raise InvalidRequest(f"model {self._name!r} has no input {name!r}; its inputs: {_names(self._inputs)}")
            shape = tensor.data.shape
            if (
                tensor.datatype != expected.datatype
                or tensor.data.dtype != expected.dtype
                or not _fits(shape, expected.shape)
            ):
                raise self._refusal(expected, tensor)
            if self._max_batch_size:
                batch = batch or shape[0]
                if shape[0] != batch or not 1 <= batch <= self._max_batch_size:
                    raise self._batch_refusal(request)
        for name in request.outputs:
            if name not in self._outputs:
                raise InvalidRequest(
                    f"model {self._name!r} has no output {name!r}; its outputs: {_names(sorted(self._outputs))}"
                )

    def _refusal(self, expected: "_Expected", tensor: Tensor) -> InvalidRequest:
        where = f"model {self._name!r}: input {tensor.name!r}"
        if tensor.datatype != expected.datatype:
            return InvalidRequest(f"{where} must be {expected.datatype}, got {tensor.datatype}")
        if tensor.data.dtype != expected.dtype:
            return InvalidRequest(f"{where} must be {expected.datatype}, got numpy {tensor.data.dtype}")
        batch = f" (batch axis first, up to {self._max_batch_size})" if self._max_batch_size else ""
        return InvalidRequest(f"{where} must have shape {list(expected.shape)}{batch}, got {list(tensor.shape)}")

    def _batch_refusal(self, request: InferenceRequest) -> InvalidRequest:
        sizes = {name: tensor.shape[0] for name, tensor in request.inputs.items()}
        where = f"model {self._name!r}"
        if len(set(sizes.values())) > 1:
            return InvalidRequest(f"{where}: all inputs must have the same batch size (first axis), got {sizes}")
        size = next(iter(sizes.values()))
        return InvalidRequest(f"{where}: the batch size (first axis) must be 1 to {self._max_batch_size}, got {size}")


@dataclass(frozen=True, slots=True)
class _Expected:
    """One input. `shape` includes the batch axis; -1 is anything."""

    datatype: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    if len(shape) != len(expected):
        return False
    for got, want in zip(shape, expected, strict=True):  # noqa: SIM110 (all() makes a generator: three times as slow)
        if want not in (-1, got):
            return False
    return True


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
