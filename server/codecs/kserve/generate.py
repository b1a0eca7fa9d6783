"""Triton's generate extension: one flat JSON object in, one flat JSON object out.

    {"text_input": "Once upon", "temperature": 0.5}  ->  {"model_name": "m", "model_version": "1", "text_output": "..."}

In a request a key that is an input's name is that tensor (a scalar or a flat list), `id` is the request's id, and
every other key is a request parameter. What stands inside of `parameters` is read alike. A list has no shape, so it is
laid into the declared one: fixed dimensions first, then all that is left along the innermost dynamic one (which is the
batch axis where no other is dynamic), and 1 along all others. In an answer a tensor of one element is that element,
any other a flat list; response parameters stand beside them. FP16 and BF16 outputs are written as numbers.

Source: `HTTPAPIServer::HandleGenerate` of triton-inference-server/server (2.73); docs/protocol/extension_generate.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from server.codecs.http import media_type
from server.codecs.kserve import kserve_json, kserve_request
from server.codecs.kserve.kserve_reply import MODEL_VERSION
from server.domain.errors import InvalidRequest
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.domain.model import StagedArchive, TensorSpec
from server.domain.payload import Answer, Decoded, Payload

PARAMETERS: Final = "parameters"
ID: Final = "id"


def decode(payload: Payload, archive: StagedArchive) -> Decoded:
    """Read a generate request, whatever its Content-Type; an empty body is an empty object.

    Raises:
        InvalidRequest: not a JSON object, or it does not fit the archive's signature.
    """
    document = kserve_json.load(payload.body) if len(payload.body) else {}
    if not isinstance(document, dict):
        raise InvalidRequest("a generate request has to be a JSON object")
    identity = document.get(ID, "")
    if not isinstance(identity, str):
        raise InvalidRequest("'id' must be a string")
    specs = {spec.name: spec for spec in archive.signature.inputs}
    inputs: dict[str, Tensor] = {}
    parameters: dict[str, Any] = {}
    for name, value in _entries(document, specs):
        if name not in specs:
            parameters[name] = value
        elif name in inputs:
            raise InvalidRequest(f"input '{name}' appears twice in the request")
        else:
            inputs[name] = _tensor(value, specs[name], archive)
    kserve_request.check_presence(inputs, archive.signature, archive.name)
    request = InferenceRequest(inputs, id=identity, parameters=kserve_request.request_parameters(parameters))
    return Decoded(request, GenerateReply(identity).encode, is_only_one=True)


@dataclass(frozen=True, slots=True)
class GenerateReply:
    """Writes the answers to one generate request."""

    id: str

    def encode(self, response: InferenceResponse, model_name: str) -> Answer:
        """Write one response on one line of JSON.

        Raises:
            InvalidRequest: an output holds bytes that are not UTF-8.
        """
        document: dict[str, Any] = {ID: self.id} if self.id else {}
        document["model_name"] = model_name
        document["model_version"] = MODEL_VERSION
        for name, value in response.parameters.items():
            document.setdefault(name, value)
        for tensor in response.outputs:
            document.setdefault(tensor.name, _value(tensor))
        return Answer((kserve_json.dump(document),), media_type.JSON)


def _entries(document: Mapping[str, Any], specs: Mapping[str, TensorSpec]) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if name == PARAMETERS:
            if name in specs:
                raise InvalidRequest(f"'{PARAMETERS}' is a keyword of generate, and cannot be an input's name as well")
            if not isinstance(value, dict):
                raise InvalidRequest(f"'{PARAMETERS}' must be a JSON object")
            yield from value.items()
        elif name != ID or name in specs:
            yield name, value


def _tensor(value: object, spec: TensorSpec, archive: StagedArchive) -> Tensor:
    elements = value if isinstance(value, list) else [value]
    dims = (-1, *spec.dims) if archive.signature.is_batched else spec.dims
    shape = _shape(len(elements), dims, spec.name)
    kserve_request.check_shape(shape, spec, archive.signature, archive.name)
    return Tensor(spec.name, spec.datatype, kserve_json.array_from(elements, spec.datatype, shape, spec.name))


def _shape(count: int, dims: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Lay `count` elements into the declared dimensions."""
    fixed = prod(dim for dim in dims if dim != -1)
    left, rest = divmod(count, fixed) if fixed else (count, 0)
    if rest or (left != 1 and -1 not in dims):
        raise InvalidRequest(f"the {count} elements of input '{name}' do not fit into its shape {list(dims)}")
    shape = [1 if dim == -1 else dim for dim in dims]
    if -1 in dims:
        shape[len(dims) - 1 - dims[::-1].index(-1)] = left
    return tuple(shape)


def _value(tensor: Tensor) -> object:
    flat = np.ascontiguousarray(tensor.data).reshape(-1)
    if tensor.datatype == "BYTES":
        strings = kserve_json.strings(flat, tensor.name)
        return strings[0] if len(strings) == 1 else strings
    if tensor.datatype == "FP16":
        flat = flat.astype(np.float32)
    elif tensor.datatype == "BF16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat[0] if flat.size == 1 else flat
