"""A KServe v2 request document, with the binary tensors behind it, becomes an InferenceRequest.

Everything a caller can get wrong without the model running is refused here: names, datatypes, shapes, counts, sizes,
reserved parameters, shared memory (which reaches no further than one machine, and is not offered).
How the answer is to be written is not here; see `kserve_reply.py`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from server.codecs.kserve import kserve_binary, kserve_json
from server.codecs.kserve.kserve_expected import Expected, expected
from server.domain.errors import InvalidRequest
from server.domain.inference import NO_PARAMETERS, InferenceRequest, Parameter, Tensor
from server.domain.model import ModelSignature, StagedArchive, TensorSpec

BINARY_OUTPUT_PARAMETER: Final = "binary_data_output"
_RESERVED_PREFIX: Final = "triton_"
_SHARED_MEMORY: Final = "shared_memory_region"
_LARGEST_DIM: Final = 2**63 - 1


def is_natural(value: object) -> bool:
    """Whether a JSON value is an integer from 0 up."""
    return type(value) is int and value >= 0


_PARAMETER_RULES: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = MappingProxyType(
    {
        "sequence_id": ("an unsigned integer or a string", lambda value: is_natural(value) or isinstance(value, str)),
        "sequence_start": ("true or false", lambda value: isinstance(value, bool)),
        "sequence_end": ("true or false", lambda value: isinstance(value, bool)),
        "priority": ("an unsigned integer", is_natural),
        "timeout": ("an unsigned integer", is_natural),
        BINARY_OUTPUT_PARAMETER: ("true or false", lambda value: isinstance(value, bool)),
    }
)


def decode(document: object, tail: memoryview, archive: StagedArchive) -> InferenceRequest:
    """Make the request that `document` describes; `tail` holds its binary inputs back to back.

    `outputs` names what the document lists, in its order.

    Raises:
        InvalidRequest: the document is not a KServe request, or does not fit the archive's signature.
    """
    if not isinstance(document, dict):
        raise InvalidRequest("the request must be a JSON object with 'inputs'")
    identity = document.get("id", "")
    if not isinstance(identity, str):
        raise InvalidRequest("'id' must be a string")
    return InferenceRequest(
        inputs=_inputs(document.get("inputs"), tail, archive),
        outputs=_output_names(document.get("outputs"), archive),
        id=identity,
        parameters=request_parameters(document.get("parameters")),
    )


def request_parameters(parameters: object) -> Mapping[str, Parameter]:
    """Check a request's `parameters` and give those that are the model's business.

    Raises:
        InvalidRequest: reserved names, or values of the wrong type.
    """
    if parameters is None:
        return NO_PARAMETERS
    if not isinstance(parameters, dict):
        raise InvalidRequest("'parameters' must be a JSON object")
    for name, value in parameters.items():
        if name.startswith(_RESERVED_PREFIX):
            raise InvalidRequest(f"parameter '{name}' is reserved: names that start with 'triton_' are not allowed")
        if name in _PARAMETER_RULES:
            wanted, is_right = _PARAMETER_RULES[name]
            if not is_right(value):
                raise InvalidRequest(f"parameter '{name}' must be {wanted}")
        elif not isinstance(value, str | int | float):
            raise InvalidRequest(f"parameter '{name}' must be a string, a number, true or false")
    if BINARY_OUTPUT_PARAMETER in parameters:  # ours: it says how to answer
        return {name: value for name, value in parameters.items() if name != BINARY_OUTPUT_PARAMETER}
    return parameters


def check_shape(shape: tuple[int, ...], spec: TensorSpec, signature: ModelSignature, model: str) -> None:
    """Compare a shape with the declared one. Raises InvalidRequest naming both."""
    inner = shape[1:] if signature.is_batched else shape
    if len(shape) != len(spec.dims) + signature.is_batched or not _fits(inner, spec.dims):
        expected = [-1, *spec.dims] if signature.is_batched else list(spec.dims)
        raise InvalidRequest(
            f"unexpected shape for input '{spec.name}' for model '{model}'. Expected {expected}, got {list(shape)}"
        )
    if signature.is_batched and shape[0] > signature.max_batch_size:
        raise InvalidRequest(
            f"input '{spec.name}' has a batch of {shape[0]}, "
            f"but model '{model}' takes at most {signature.max_batch_size}"
        )


def check_presence(inputs: Mapping[str, Tensor], signature: ModelSignature, model: str) -> None:
    """Look for inputs that were not sent. Raises InvalidRequest naming them."""
    missing = [spec.name for spec in signature.inputs if spec.name not in inputs and not spec.is_optional]
    if missing:
        raise InvalidRequest(f"model '{model}' misses input(s) {missing}; got {sorted(inputs)}")


def _inputs(entries: object, tail: memoryview, archive: StagedArchive) -> dict[str, Tensor]:
    if not isinstance(entries, list):
        raise InvalidRequest("the request must have 'inputs', a list of tensors with name, shape, datatype and data")
    known = expected(archive.signature)
    inputs: dict[str, Tensor] = {}
    for entry in entries:
        spec = _spec(entry, known.inputs, archive.name)
        if spec.name in inputs:
            raise InvalidRequest(f"input '{spec.name}' appears twice in the request")
        shape = _checked_shape(entry.get("shape"), spec, known, archive.name)
        size = _binary_size(entry, spec.name)
        if size is None:
            data = kserve_json.array_from(entry["data"], spec.datatype, shape, spec.name)
        else:
            if size > len(tail):
                raise InvalidRequest(
                    f"unexpected size for input '{spec.name}', expecting {size - len(tail)} additional bytes "
                    f"for model '{archive.name}'"
                )
            data = kserve_binary.array_from(tail[:size], spec.datatype, shape, spec.name, archive.name)
            tail = tail[size:]
        inputs[spec.name] = Tensor(spec.name, spec.datatype, data)
    if tail:
        raise InvalidRequest(f"unexpected additional input data for model '{archive.name}': {len(tail)} bytes too many")
    if not known.required <= inputs.keys():
        check_presence(inputs, archive.signature, archive.name)
    return inputs


def _spec(entry: object, specs: Mapping[str, TensorSpec], model: str) -> TensorSpec:
    """Find the declared input that an entry is about, and compare the datatypes."""
    if not isinstance(entry, dict):
        raise InvalidRequest("each of 'inputs' must be a JSON object with name, shape, datatype and data")
    name = entry.get("name")
    spec = specs.get(name) if isinstance(name, str) else None
    if spec is None:
        raise InvalidRequest(f"unexpected inference input {name!r} for model '{model}', which has {sorted(specs)}")
    datatype = entry.get("datatype")
    if datatype != spec.datatype:
        raise InvalidRequest(f"input '{name}' has datatype {datatype!r}, but model '{model}' expects '{spec.datatype}'")
    return spec


def _checked_shape(dims: object, spec: TensorSpec, known: Expected, model: str) -> tuple[int, ...]:
    """The shape that an entry says, which has to be the declared one."""
    if type(dims) is list and _is_plainly(dims, known.shapes[spec.name]):
        signature = known.signature
        if not signature.is_batched or dims[0] <= signature.max_batch_size:
            return tuple(dims)
    shape = _shape(dims, spec.name)
    check_shape(shape, spec, known.signature, model)
    return shape


def _is_plainly(dims: list[Any], declared: tuple[int, ...]) -> bool:
    if len(dims) != len(declared):
        return False
    for got, wanted in zip(dims, declared, strict=True):  # a generator costs more than the loop
        if type(got) is not int or not 0 <= got <= _LARGEST_DIM or wanted not in (-1, got):
            return False
    return True


def _shape(shape: object, name: str) -> tuple[int, ...]:
    dims = shape if isinstance(shape, list) else [None]
    for dim in dims:
        if type(dim) is not int or not 0 <= dim <= _LARGEST_DIM:
            raise InvalidRequest(f"'shape' of input '{name}' must be a list of unsigned integers")
    return tuple(dims)


def _fits(inner: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    for got, wanted in zip(inner, dims, strict=True):  # noqa: SIM110  a generator costs more than the loop
        if wanted not in (-1, got):
            return False
    return True


def _binary_size(entry: dict[str, Any], name: str) -> int | None:
    """The input's `binary_data_size`, or None where its data is in the document."""
    parameters = entry.get("parameters") or {}
    if not parameters and "data" in entry:
        return None
    if not isinstance(parameters, dict):
        raise InvalidRequest(f"'parameters' of input '{name}' must be a JSON object")
    size = parameters.get("binary_data_size")
    sources = ("data" in entry) + (size is not None) + (_SHARED_MEMORY in parameters)
    if sources != 1:
        raise InvalidRequest(
            f"input '{name}' must set exactly one of the following fields: "
            f"'data', 'binary_data_size' in 'parameters'; it sets {sources}"
        )
    if _SHARED_MEMORY in parameters:
        raise InvalidRequest(f"input '{name}' is in shared memory, which this server does not offer; send it as data")
    if size is not None and not is_natural(size):
        raise InvalidRequest(f"'binary_data_size' of input '{name}' must be an unsigned integer")
    return size


def _output_names(entries: object, archive: StagedArchive) -> tuple[str, ...]:
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise InvalidRequest("'outputs' must be a list of JSON objects with a name")
    known = {spec.name for spec in archive.signature.outputs}
    names: dict[str, None] = {}  # an ordered set: asking twice is asking once
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in known:
            raise InvalidRequest(
                f"unexpected inference output {name!r} for model '{archive.name}', which has {sorted(known)}"
            )
        names[name] = None
    return tuple(names)
