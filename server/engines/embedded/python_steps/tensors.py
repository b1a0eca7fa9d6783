"""`pb_utils.Tensor` and the data type tables of `triton_python_backend_utils`."""

import struct
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from server.domain.inference import Array
from server.engines.embedded.python_steps.triton_errors import TritonModelException

TRITON_TYPE_NUMBERS: Final[dict[str, int]] = {
    "BOOL": 1,
    "UINT8": 2,
    "UINT16": 3,
    "UINT32": 4,
    "UINT64": 5,
    "INT8": 6,
    "INT16": 7,
    "INT32": 8,
    "INT64": 9,
    "FP16": 10,
    "FP32": 11,
    "FP64": 12,
    "BYTES": 13,
    "BF16": 14,
}
"""KServe data type -> Triton's own number for it (`TRITONSERVER_DataType`)."""

_SCALARS: Final[dict[int, type[Any]]] = {
    1: np.bool_,
    2: np.uint8,
    3: np.uint16,
    4: np.uint32,
    5: np.uint64,
    6: np.int8,
    7: np.int16,
    8: np.int32,
    9: np.int64,
    10: np.float16,
    11: np.float32,
    12: np.float64,
    13: np.object_,
}
TRITON_STRING_TO_NUMPY: Final[dict[str, type[Any]]] = {
    "TYPE_STRING": np.object_,
    **{f"TYPE_{name}": _SCALARS[number] for name, number in TRITON_TYPE_NUMBERS.items() if number < 13},
}
"""Public in the original, and some models read it directly."""

_DATATYPE_BY_DTYPE: Final[dict[np.dtype[Any], str]] = {
    np.dtype(_SCALARS[number]): name for name, number in TRITON_TYPE_NUMBERS.items() if number < 14
}
_CPU_DEVICE: Final = 1  # DLPack's number


class Tensor:
    """A named tensor, as models receive and make it.

    `numpy_array` may have any shape; text must be an object array (of bytes or str) or a bytes array: numpy's fixed
    width unicode arrays raise TritonModelException, as they do in Triton. TypeError where it is no numpy array.
    """

    __slots__ = ("_array", "_datatype", "_name")

    def __init__(self, name: str, numpy_array: Array) -> None:
        if not name:
            raise TritonModelException("a tensor needs a name")
        self._datatype = _datatype_of(name, numpy_array)
        self._name = name
        self._array = numpy_array

    @classmethod
    def of(cls, name: str, datatype: str, array: Array) -> "Tensor":
        """Wrap an array whose KServe `datatype` is known already (BF16 travels as uint16)."""
        tensor = cls.__new__(cls)
        tensor._name, tensor._datatype, tensor._array = name, datatype, array
        return tensor

    def name(self) -> str:
        """The tensor's name."""
        return self._name

    def as_numpy(self) -> Array:
        """The array itself, not a copy."""
        return self._array

    def shape(self) -> list[int]:
        """The dimensions, batch axis included."""
        return list(self._array.shape)

    def triton_dtype(self) -> int:
        """Triton's number of the data type, as `numpy_to_triton_type` gives it."""
        return TRITON_TYPE_NUMBERS[self._datatype]

    def is_cpu(self) -> bool:
        """Always true: steps of the embedded engine exchange host memory."""
        return True

    def to_dlpack(self) -> object:
        """A DLPack capsule over the same memory."""
        return self.__dlpack__()

    def __dlpack__(self, *, stream: object = None) -> object:
        del stream
        return self._array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (_CPU_DEVICE, 0)

    @staticmethod
    def from_dlpack(name: str, tensor: object) -> "Tensor":
        """Make a tensor over the memory of a DLPack capsule or of an object that exports one (CPU only)."""
        exporter: Any = tensor if hasattr(tensor, "__dlpack__") else _Capsule(tensor)
        if exporter.__dlpack_device__()[0] != _CPU_DEVICE:
            raise TritonModelException(f"tensor {name!r} is not in host memory; move it there first, e.g. with .cpu()")
        return Tensor(name, np.from_dlpack(exporter))


class _Capsule:
    """Gives a bare DLPack capsule the interface that numpy reads."""

    def __init__(self, capsule: object) -> None:
        self._capsule = capsule

    def __dlpack__(self) -> object:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (_CPU_DEVICE, 0)


def _datatype_of(name: str, array: object) -> str:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"tensor {name!r} needs a numpy array, not {type(array).__name__}")
    datatype = _DATATYPE_BY_DTYPE.get(array.dtype)
    if datatype is None:  # numpy makes another dtype in native order, and its hash anew, at each call
        datatype = "BYTES" if array.dtype.kind == "S" else _DATATYPE_BY_DTYPE.get(array.dtype.newbyteorder("="))
    if datatype is None:
        raise TritonModelException(
            f"tensor {name!r} has numpy dtype {array.dtype}, which Triton does not have; use np.object_ for text"
        )
    return datatype


def serialize_byte_tensor(input_tensor: Array) -> bytes | tuple[()] | None:
    """Join text elements in C order, each behind its length (4 bytes, little endian).

    Returns `()` for an empty tensor and None for one that holds no text, as the original does.
    """
    if input_tensor.size == 0:
        return ()
    if input_tensor.dtype != np.object_ and input_tensor.dtype.kind != "S":
        return None
    return pack_strings(input_tensor)


def pack_strings(array: Array) -> bytes:
    """Like `serialize_byte_tensor`, but empty bytes for an empty array."""
    pieces: list[bytes] = []
    for element in array.ravel(order="C").tolist():
        data = as_bytes(element)
        pieces.append(struct.pack("<I", len(data)))
        pieces.append(data)
    return b"".join(pieces)


def deserialize_bytes_tensor(encoded_tensor: bytes | memoryview) -> Array:
    """The inverse of `serialize_byte_tensor`: a 1-d object array of bytes. Raises TritonModelException if cut short."""
    view = memoryview(encoded_tensor).cast("B")
    elements: list[bytes] = []
    offset = 0
    while offset < len(view):
        end = offset + 4
        if end <= len(view):
            end += struct.unpack_from("<I", view, offset)[0]
        if end > len(view):
            raise TritonModelException("the text tensor is cut short")
        elements.append(bytes(view[offset + 4 : end]))
        offset = end
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array


def as_bytes(element: object) -> bytes:
    """One text element as bytes; anything that is not bytes is written as UTF-8 text."""
    return element if isinstance(element, bytes) else str(element).encode()


def with_bytes_elements(array: Array) -> Array:
    """An object array whose elements are all `bytes`: the same array where that holds already."""
    if array.dtype == np.object_ and all(type(element) is bytes for element in array.ravel()):
        return array
    encoded = np.empty(array.shape, dtype=np.object_)
    encoded.ravel()[:] = [as_bytes(element) for element in array.ravel().tolist()]
    return encoded


def triton_string_to_numpy(triton_type_string: str) -> type[Any]:
    """`"TYPE_FP32"` -> `np.float32`. Raises KeyError for a type that numpy does not have."""
    return TRITON_STRING_TO_NUMPY[triton_type_string]


def triton_to_numpy_type(data_type: int) -> type[Any] | None:
    """Triton's number of a data type -> numpy's scalar type, None if there is none."""
    return _SCALARS.get(data_type)


def numpy_to_triton_type(data_type: npt.DTypeLike) -> int | None:
    """Numpy's type -> Triton's number of the data type, None if there is none."""
    dtype = np.dtype(cast("Any", data_type))
    if dtype.kind == "S":
        return TRITON_TYPE_NUMBERS["BYTES"]
    name = _DATATYPE_BY_DTYPE.get(dtype)
    return None if name is None else TRITON_TYPE_NUMBERS[name]
