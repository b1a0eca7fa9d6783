"""Triton's HTTP body: a JSON head, then the tensors' bytes back to back (the binary tensor data extension).

Pure. All outputs are asked for as binary data.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import orjson

from server.domain.inference import (
    NUMPY_BY_DATATYPE,
    Array,
    InferenceRequest,
    InferenceResponse,
    Parameter,
    Tensor,
)
from server.domain.payload import FramedAnswer

Piece: TypeAlias = bytes | memoryview

_FEW_BYTES: Final = 4096
"""So few bytes are copied sooner than looked at through a view."""
_ENSEMBLE_NOISE: Final = {"sequence_id": 0, "sequence_start": False, "sequence_end": False}
"""Triton 2.51 answers every ensemble request with these, whether or not there is a sequence."""


def encode_request(request: InferenceRequest) -> tuple[bytes, list[Piece]]:
    """Return the JSON head and the pieces that follow it. Pieces share memory with the request's arrays."""
    pieces: list[Piece] = []
    inputs: list[dict[str, Any]] = []
    for tensor in request.inputs.values():
        piece = encode_tensor(tensor)
        inputs.append(
            {
                "name": tensor.name,
                "shape": tensor.shape,
                "datatype": tensor.datatype,
                "parameters": {"binary_data_size": len(piece)},
            }
        )
        if len(piece):
            pieces.append(piece)
    head: dict[str, Any] = {"inputs": inputs}
    if request.id:
        head["id"] = request.id
    if request.outputs:
        head["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in request.outputs]
        if request.parameters:
            head["parameters"] = dict(request.parameters)
    else:
        head["parameters"] = {**request.parameters, "binary_data_output": True}
    return orjson.dumps(head), pieces


def encode_tensor(tensor: Tensor) -> Piece:
    """The tensor's bytes: little-endian, row-major; BYTES elements each behind their 4-byte length."""
    if tensor.datatype == "BYTES":
        return _encode_elements(tensor.data)
    data, dtype = tensor.data, NUMPY_BY_DATATYPE[tensor.datatype]
    if data.nbytes <= _FEW_BYTES and data.dtype == dtype:
        return data.tobytes()
    array = np.ascontiguousarray(data, dtype=dtype)
    return array.reshape(-1).view(np.uint8).data if array.size else b""


def decode_tensor(name: str, datatype: str, shape: Sequence[int], data: Piece) -> Tensor:
    """The tensor of those bytes; shares their memory (so it may be read-only) except for BYTES.

    Raises:
        ValueError: the bytes do not fit the shape.
    """
    flat = _decode_elements(data) if datatype == "BYTES" else np.frombuffer(data, NUMPY_BY_DATATYPE[datatype])
    return Tensor(name, datatype, flat.reshape(shape))


def decode_response(body: bytes, head_bytes: int | None) -> InferenceResponse:
    """The answer in `body`, whose JSON head takes `head_bytes` (`None`: all of it).

    Raises:
        ValueError, KeyError: this is not an answer of Triton's.
    """
    head = orjson.loads(body if head_bytes is None else memoryview(body)[:head_bytes])
    view, offset = memoryview(body), head_bytes or len(body)
    outputs = []
    for entry in head["outputs"]:
        size = entry.get("parameters", {}).get("binary_data_size")
        if size is None:
            outputs.append(_from_json(entry))
            continue
        outputs.append(decode_tensor(entry["name"], entry["datatype"], entry["shape"], view[offset : offset + size]))
        offset += size
    return InferenceResponse(tuple(outputs), response_parameters(head.get("parameters", {})))


def framed_answer(body: bytes, head_bytes: int | None) -> FramedAnswer:
    """The answer in `body` with its tensors as they are. Raises as `decode_response`."""
    document = orjson.loads(body if head_bytes is None else memoryview(body)[:head_bytes])
    if "parameters" in document:
        document["parameters"] = response_parameters(document["parameters"])
    return FramedAnswer(document, b"" if head_bytes is None else memoryview(body)[head_bytes:])


def response_parameters(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """The model's own parameters, without those that Triton adds to every ensemble answer."""
    if all(parameters.get(name) == value for name, value in _ENSEMBLE_NOISE.items()):
        return {name: value for name, value in parameters.items() if name not in _ENSEMBLE_NOISE}
    return dict(parameters)


def _from_json(entry: Mapping[str, Any]) -> Tensor:
    """An output that came as JSON: Triton sends one without elements so."""
    elements = [item.encode() if isinstance(item, str) else item for item in entry.get("data", ())]
    array = np.array(elements, dtype=NUMPY_BY_DATATYPE[entry["datatype"]])
    return Tensor(entry["name"], entry["datatype"], array.reshape(entry["shape"]))


def _encode_elements(array: Array) -> bytes:
    parts: list[bytes] = []
    for element in array.ravel():
        parts.append(len(element).to_bytes(4, "little"))
        parts.append(element)
    return b"".join(parts)


def _decode_elements(data: Piece) -> Array:
    elements, offset = [], 0
    while offset < len(data):
        end = offset + 4 + int.from_bytes(data[offset : offset + 4], "little")
        elements.append(bytes(data[offset + 4 : end]))
        offset = end
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array
