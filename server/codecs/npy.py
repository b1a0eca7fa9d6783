"""`application/x-npy`: one numpy array per body, for archives with one input, and for answers with one output.

Only what a tensor needs is read: a header of the usual three keys and numbers behind it. Pickles are never touched, and
the header is matched, not evaluated. BYTES tensors have no place in this format.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from server.codecs.http import media_type
from server.codecs.kserve import kserve_binary
from server.codecs.kserve.kserve_request import check_presence, check_shape
from server.domain.errors import InvalidRequest, NotAcceptable, UnsupportedMediaType
from server.domain.inference import NUMPY_BY_DATATYPE, Array, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import StagedArchive
from server.domain.payload import Answer

_MAGIC: Final = b"\x93NUMPY"
_LONGEST_HEADER: Final = 10_000
_HEADER: Final = re.compile(
    r"\{\s*'descr':\s*'(?P<descr>[<>|=][biuf][1248])',\s*'fortran_order':\s*(?P<fortran>True|False),"
    r"\s*'shape':\s*\((?P<shape>[0-9, ]*)\),?\s*\}\s*"
)


def decode(body: bytes | memoryview, archive: StagedArchive) -> InferenceRequest:
    """Make the request whose only input is the array in `body`.

    Raises:
        UnsupportedMediaType: the archive takes several inputs, or texts.
        InvalidRequest: not an .npy file, or an array that does not fit the input.
    """
    signature = archive.signature
    specs = [spec for spec in signature.inputs if not spec.is_optional] or list(signature.inputs)
    if len(specs) != 1 or specs[0].datatype == "BYTES":
        raise UnsupportedMediaType(
            f"{media_type.NPY} needs an archive with one numeric input; '{archive.name}' has not"
        )
    spec = specs[0]
    array = read(body)
    if array.dtype != NUMPY_BY_DATATYPE[spec.datatype]:
        raise InvalidRequest(f"input '{spec.name}' expects {spec.datatype}, but the .npy array is {array.dtype}")
    check_shape(array.shape, spec, signature, archive.name)
    inputs = {spec.name: Tensor(spec.name, spec.datatype, array)}
    check_presence(inputs, signature, archive.name)
    return InferenceRequest(inputs)


def read(body: bytes | memoryview) -> Array:
    """Read an array, as a view of `body` wherever byte order, layout and alignment allow.

    Raises:
        InvalidRequest: not an .npy file of numbers, or its size does not fit its shape.
    """
    view = memoryview(body)
    width = {1: 2, 2: 4, 3: 4}.get(view[6] if len(view) > 6 else 0)
    if bytes(view[:6]) != _MAGIC or width is None:
        raise InvalidRequest("the body is not an .npy file")
    size = int.from_bytes(view[8 : 8 + width], "little")
    start = 8 + width + size
    if size > _LONGEST_HEADER or start > len(view):
        raise InvalidRequest("the header of the .npy file is cut off, or too long")
    match = _HEADER.fullmatch(str(view[8 + width : start], "latin-1"))
    if match is None:
        raise InvalidRequest("the header of the .npy file does not describe an array of numbers")
    return _array(match, view[start:])


def refusal(archive: StagedArchive, outputs: tuple[str, ...]) -> str:
    """Say why the answer does not fit an .npy file; empty where it does."""
    specs = [spec for spec in archive.signature.outputs if not outputs or spec.name in outputs]
    if len(specs) != 1:
        return f"{media_type.NPY} holds one output, and {len(specs)} are asked for"
    return f"{media_type.NPY} holds no BYTES" if specs[0].datatype == "BYTES" else ""


@dataclass(frozen=True, slots=True)
class NpyReply:
    """Writes the only output as an .npy file. `output` names it; empty: the model has one output only."""

    output: str = ""

    def encode(self, response: InferenceResponse, model_name: str) -> Answer:
        """Write the answer. Raises NotAcceptable where it is not one numeric tensor."""
        tensors = [tensor for tensor in response.outputs if self.output in ("", tensor.name)]
        if len(tensors) != 1 or tensors[0].datatype == "BYTES":
            raise NotAcceptable(
                f"the answer of '{model_name}' is not one numeric tensor: {media_type.NPY} is not possible"
            )
        array = np.asarray(tensors[0].data, order="C")
        return Answer((_header(array), kserve_binary.raw_bytes(tensors[0])), media_type.NPY)


def _header(array: Array) -> bytes:
    """Write version 1.0's header; numpy wants the data to start at a multiple of 64."""
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    padding = -(len(_MAGIC) + 4 + len(text) + 1) % 64
    size = (len(text) + padding + 1).to_bytes(2, "little")
    return b"".join((_MAGIC, b"\x01\x00", size, text.encode(), b" " * padding, b"\n"))


def _array(match: re.Match[str], raw: memoryview) -> Array:
    try:
        dtype: np.dtype[Any] = np.dtype(match["descr"])
        shape = tuple(int(dim) for dim in match["shape"].split(",") if dim.strip())
        flat = np.frombuffer(raw, dtype)
        if not flat.flags.aligned:
            flat = flat.copy()
        array = flat.reshape(shape, order="F" if match["fortran"] == "True" else "C")
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"the .npy file's data does not fit its header: {error}") from error
    if dtype.kind == "b":
        array = array.view(np.uint8) != 0  # any other byte is undefined in numpy
    return np.asarray(array, dtype=dtype.newbyteorder("="), order="C")
