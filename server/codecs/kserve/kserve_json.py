"""KServe v2 JSON: documents, and tensors whose `data` is a flat or nested list.

What goes in is exact: integers keep all 64 bits, `true` is not 1, `"1"` is not 1, 1.0 is not an integer, and a number
that does not fit the datatype is refused instead of wrapped. Bare `NaN` and `Infinity`, which are not JSON but which
Triton and Python's own `json` write and read, are read as well.

What goes out is JSON that every parser reads: NaN and the infinities become `null`, which numpy reads back as NaN.
A caller who needs to tell them apart asks for binary output.
"""

import json
import struct
from array import array
from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import orjson

from server.codecs.kserve import bytes_elements
from server.codecs.number_lists import large_lists
from server.domain.errors import InferenceFailed, InvalidRequest
from server.domain.inference import NUMPY_BY_DATATYPE, Array, Tensor

_INTEGER_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "UINT8": "B",
        "UINT16": "H",
        "UINT32": "I",
        "UINT64": "Q",
        "INT8": "b",
        "INT16": "h",
        "INT32": "i",
        "INT64": "q",
    }
)
_ELEMENT_TYPES: Final[Mapping[str, frozenset[type]]] = MappingProxyType(
    {
        "BOOL": frozenset({bool}),
        "BYTES": frozenset({str}),
        "FP32": frozenset({int, float}),
        "FP64": frozenset({int, float}),
        **dict.fromkeys(_INTEGER_CODES, frozenset({int})),
    }
)
_WANTED: Final[Mapping[str, str]] = MappingProxyType({"BOOL": "true or false", "BYTES": "strings"})
_FEW: Final = 64
"""Up to so many numbers, numpy's preparations take longer than packing them one by one."""
WITHOUT_JSON: Final = frozenset({"FP16", "BF16"})
"""Datatypes that travel as binary tensors only."""


def load(body: bytes | memoryview) -> Any:
    """Parse a JSON document. Large `data` of inputs may come as a flat array, which `array_from` takes as well.

    Raises:
        InvalidRequest: it is not JSON, not UTF-8, or nested too deeply.
    """
    if len(body) >= large_lists.WORTH_BYTES:
        document = large_lists.load(bytes(body))
        if document is not None:
            return document
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        failure = error
    text = bytes(body)
    if b"NaN" in text or b"Infinity" in text:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass  # the first parser's message is about the real place
    raise InvalidRequest(f"the request is not valid JSON: {failure}") from failure


def dump(document: object) -> bytes:
    """Write a JSON document; C-contiguous numpy arrays in it become lists.

    Raises:
        InferenceFailed: the model put something into it that JSON cannot say.
    """
    try:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise InferenceFailed(f"the model's answer cannot be written as JSON: {error}") from error


def array_from(data: object, datatype: str, shape: tuple[int, ...], name: str) -> Array:
    """Make the array of an input from its `data`; nesting is ignored, elements are row-major.

    Raises:
        InvalidRequest: not a list, wrong element types, numbers out of range, or a count that does not fit `shape`.
    """
    if datatype in WITHOUT_JSON:
        raise InvalidRequest(
            f"receiving {datatype} data via JSON is not supported; use the binary data format for input '{name}'"
        )
    if not isinstance(data, list | np.ndarray):
        raise InvalidRequest(f"'data' of input '{name}' must be a list")
    flat, types = _flatten(data) if isinstance(data, list) else (data, {float if data.dtype.kind == "f" else int})
    if not types <= _ELEMENT_TYPES[datatype]:
        wanted = _WANTED.get(datatype, "integers" if datatype in _INTEGER_CODES else "numbers")
        raise InvalidRequest(f"'data' of input '{name}' must hold {wanted}, because its datatype is {datatype}")
    try:
        return _array(flat, datatype).reshape(shape)
    except (OverflowError, FloatingPointError) as error:
        raise InvalidRequest(f"'data' of input '{name}' has a number that does not fit {datatype}") from error
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"'data' of input '{name}' has a string that is not Unicode text: {error}") from error
    except ValueError as error:
        raise InvalidRequest(
            f"'data' of input '{name}' has {len(flat)} elements, which does not fit shape {list(shape)}"
        ) from error


def json_data(tensor: Tensor) -> object:
    """Give an output's `data`: a flat list, or a flat array that `dump` can write.

    Raises:
        InvalidRequest: the output cannot be said in JSON and has to be asked for in binary.
    """
    flat = np.ascontiguousarray(tensor.data).reshape(-1)
    if tensor.datatype in WITHOUT_JSON:
        raise InvalidRequest(refusal(tensor.datatype, tensor.name))
    if tensor.datatype == "BYTES":
        return strings(flat, tensor.name)
    return flat


def strings(elements: Array, name: str) -> list[str]:
    """Decode the elements of a flat BYTES output. Raises InvalidRequest where one is not UTF-8."""
    try:
        return [element.decode() for element in elements.tolist()]
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"output '{name}' holds bytes that are not UTF-8 text; ask for it with the parameter binary_data: true"
        ) from error


def refusal(datatype: str, name: str) -> str:
    """Say that an output of this datatype cannot be written as JSON."""
    return f"sending {datatype} data via JSON is not supported; ask for output '{name}' with binary_data: true"


def _array(flat: list[Any] | Array, datatype: str) -> Array:
    if isinstance(flat, np.ndarray):
        return _narrowed(flat, datatype)
    if datatype == "BYTES":
        return bytes_elements.object_array([text.encode() for text in flat], (len(flat),))
    if datatype in _INTEGER_CODES:
        return np.frombuffer(array(_INTEGER_CODES[datatype], flat), dtype=NUMPY_BY_DATATYPE[datatype])
    if datatype == "BOOL":
        return np.array(flat, dtype=np.bool_)
    return _floats(flat, datatype)


def _floats(flat: list[Any], datatype: str) -> Array:
    if datatype == "FP32" and len(flat) <= _FEW:
        return np.frombuffer(_packed(flat), dtype=np.float32)
    wide = np.frombuffer(array("d", flat), dtype=np.float64)
    if datatype == "FP64":
        return wide
    with np.errstate(over="raise", under="ignore"):
        return wide.astype(np.float32)


def _packed(few: list[Any]) -> bytes:
    """Write numbers as little-endian FP32, which checks their range. Raises OverflowError."""
    try:
        return struct.pack(f"<{len(few)}f", *few)
    except struct.error as error:  # an integer beyond every float
        raise OverflowError from error


def _narrowed(numbers: Array, datatype: str) -> Array:
    """Convert integers from 0 up, or float64 to floats.

    Raises:
        OverflowError, FloatingPointError: one does not fit.
    """
    dtype = NUMPY_BY_DATATYPE[datatype]
    if numbers.dtype == dtype:
        return numbers
    if dtype.kind in "iu" and numbers.max() > np.iinfo(dtype).max:
        raise OverflowError
    with np.errstate(over="raise", under="ignore"):
        return numbers.astype(dtype)


def _flatten(data: list[Any]) -> tuple[list[Any], set[type]]:
    """Unpack nested lists level by level; gives the elements and the set of their types."""
    while True:
        types = set(map(type, data))
        if list not in types:
            return data, types
        if len(types) > 1:
            data = _leaves(data)
            return data, set(map(type, data))
        data = list(chain.from_iterable(data))


def _leaves(data: list[Any]) -> list[Any]:
    """Unpack lists that are mixed with elements, in one walk: level by level would be quadratic."""
    leaves: list[Any] = []
    walk = [iter(data)]
    while walk:
        for item in walk[-1]:
            if type(item) is list:
                walk.append(iter(item))
                break
            leaves.append(item)
        else:
            walk.pop()
    return leaves
