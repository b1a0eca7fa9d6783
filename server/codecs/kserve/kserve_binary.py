"""KServe v2 binary tensors: a JSON part, and behind it the raw data of inputs or outputs back to back.

Two framings say how long the JSON part is: SageMaker's `Content-Type: ...binary+json;json-header-size=N`, and KServe's
header `Inference-Header-Content-Length: N`. Size 0 is a *raw* request: the whole body is the only input's data.
Arrays are views into the body wherever its alignment allows.
"""

import re
from typing import Final

import numpy as np

from server.codecs.kserve import bytes_elements
from server.domain.errors import InvalidRequest
from server.domain.inference import NUMPY_BY_DATATYPE, Array, Tensor
from server.domain.model import StagedArchive, TensorSpec

HEADER_SIZE_PARAMETER: Final = "json-header-size"
KSERVE_SIZE_HEADER: Final = "inference-header-content-length"
_LEADING_INTEGER: Final = re.compile(r"\s*([+-]?[0-9]{1,20})")


def parse_header_size(text: str) -> int:
    """Read `json-header-size` as Triton does: a leading integer, whatever follows it.

    Raises:
        InvalidRequest: it does not start with a number.
    """
    match = _LEADING_INTEGER.match(text)
    if match is None:
        raise InvalidRequest(f"unable to parse inference header size, got: {text!r}")
    return int(match[1])


def split(body: bytes | memoryview, header_size: int) -> tuple[memoryview, memoryview]:
    """Cut a body into its JSON part and its tensors, without copying.

    Raises:
        InvalidRequest: the size does not lie within the body.
    """
    if not 0 <= header_size <= len(body):
        raise InvalidRequest(f"inference header size should be in range (0, {len(body)}), got: {header_size}")
    view = memoryview(body)
    return view[:header_size], view[header_size:]


def array_from(raw: memoryview, datatype: str, shape: tuple[int, ...], name: str, model: str) -> Array:
    """View the raw bytes of an input as an array.

    Raises:
        InvalidRequest: the byte size does not fit the shape.
    """
    count = 1
    for dim in shape:
        count *= dim
    if datatype == "BYTES":
        return _shaped(
            bytes_elements.object_array(bytes_elements.parse(bytes(raw), count, name), (count,)), shape, name
        )
    dtype = NUMPY_BY_DATATYPE[datatype]
    if count * dtype.itemsize != len(raw):
        raise InvalidRequest(
            f"input byte size mismatch for input '{name}' for model '{model}'. "
            f"Expected {count * dtype.itemsize}, got {len(raw)}"
        )
    if datatype == "BOOL":
        return _shaped(np.frombuffer(raw, np.uint8) != 0, shape, name)  # any other byte is undefined in numpy
    flat = np.frombuffer(raw, dtype)
    if not flat.flags.aligned:
        flat = flat.copy()  # native code below reads whole words
    return _shaped(flat, shape, name)


def raw_input(body: bytes | memoryview, archive: StagedArchive) -> Tensor:
    """Read a raw request: the whole body is the data of the archive's only input, as one item.

    Raises:
        InvalidRequest: the archive has several inputs, its shape cannot be deduced, or the size does not fit.
    """
    signature = archive.signature
    if len(signature.inputs) != 1:
        raise InvalidRequest(
            f"a raw binary request needs a model with exactly one input, but model '{archive.name}' "
            f"has {len(signature.inputs)}; send a JSON part that names the inputs"
        )
    spec = signature.inputs[0]
    batch = (1,) if signature.is_batched else ()
    if spec.datatype == "BYTES":
        if any(dim not in (1, -1) for dim in spec.dims):
            raise InvalidRequest(
                f"a raw binary request for BYTES input '{spec.name}' needs shape [1], but it has {list(spec.dims)}"
            )
        shape = batch + (1,) * len(spec.dims)
        return Tensor(spec.name, "BYTES", bytes_elements.object_array([bytes(body)], shape))
    shape = batch + _deduced(spec, len(body))
    return Tensor(spec.name, spec.datatype, array_from(memoryview(body), spec.datatype, shape, spec.name, archive.name))


def raw_bytes(tensor: Tensor) -> bytes | memoryview:
    """Give an output's bytes; a view of the array wherever it is contiguous."""
    if tensor.datatype == "BYTES":
        return bytes_elements.serialise(tensor.data)
    return np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8).data


def _deduced(spec: TensorSpec, byte_size: int) -> tuple[int, ...]:
    """Fill in the one dynamic axis of a raw input from the size of the body."""
    if spec.dims.count(-1) > 1:
        raise InvalidRequest(
            f"the shape of the raw input '{spec.name}' cannot be deduced: more than one of its dimensions varies"
        )
    item = NUMPY_BY_DATATYPE[spec.datatype].itemsize
    for dim in spec.dims:
        item *= dim if dim != -1 else 1
    return tuple(byte_size // item if dim == -1 and item else max(dim, 0) for dim in spec.dims)


def _shaped(flat: Array, shape: tuple[int, ...], name: str) -> Array:
    try:
        return flat.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"shape {list(shape)} of input '{name}' is too large") from error
