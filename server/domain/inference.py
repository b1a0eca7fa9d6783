"""Tensors, requests and answers, as every layer below the surfaces sees them.

The words follow the KServe v2 protocol (`datatype`, `shape`, `parameters`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Parameter: TypeAlias = str | int | float | bool
Array: TypeAlias = npt.NDArray[Any]

NUMPY_BY_DATATYPE: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype(np.uint8),
        "UINT16": np.dtype(np.uint16),
        "UINT32": np.dtype(np.uint32),
        "UINT64": np.dtype(np.uint64),
        "INT8": np.dtype(np.int8),
        "INT16": np.dtype(np.int16),
        "INT32": np.dtype(np.int32),
        "INT64": np.dtype(np.int64),
        "FP16": np.dtype(np.float16),
        "FP32": np.dtype(np.float32),
        "FP64": np.dtype(np.float64),
        "BF16": np.dtype(np.uint16),  # numpy has no bfloat16: its bits travel as uint16
        "BYTES": np.dtype(np.object_),  # elements are `bytes`
    }
)

NO_PARAMETERS: Final[Mapping[str, Parameter]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array. `data.dtype` is `NUMPY_BY_DATATYPE[datatype]`; BYTES elements are `bytes`."""

    name: str
    datatype: str
    data: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The full shape, batch axis included."""
        return self.data.shape


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """One request for one entry model. `outputs` empty asks for all of them."""

    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...] = ()
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)


@dataclass(frozen=True, slots=True)
class InferenceResponse:
    """One answer. Decoupled models give several (or none) for one request."""

    outputs: tuple[Tensor, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)
