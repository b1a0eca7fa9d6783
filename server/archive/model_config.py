"""`config.pbtxt` through Triton's own schema: text <-> protobuf <-> the signature that the middle works with.

Not here: what belongs to several models at once (`calls.py`, `ensemble.py`), and completing a config by looking into
the model file (an engine's business).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.errors import InvalidArchive
from server.domain.model import ModelSignature, TensorSpec

__all__ = [
    "DATATYPE_BY_TYPE",
    "TYPE_BY_DATATYPE",
    "ModelConfig",
    "backend_of",
    "canonical",
    "canonical_text",
    "datatype",
    "is_complete",
    "is_ensemble",
    "parameter",
    "parse",
    "render",
    "signature",
]

DATATYPE_BY_TYPE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "TYPE_BOOL": "BOOL",
        "TYPE_UINT8": "UINT8",
        "TYPE_UINT16": "UINT16",
        "TYPE_UINT32": "UINT32",
        "TYPE_UINT64": "UINT64",
        "TYPE_INT8": "INT8",
        "TYPE_INT16": "INT16",
        "TYPE_INT32": "INT32",
        "TYPE_INT64": "INT64",
        "TYPE_FP16": "FP16",
        "TYPE_FP32": "FP32",
        "TYPE_FP64": "FP64",
        "TYPE_BF16": "BF16",
        "TYPE_STRING": "BYTES",
    }
)
"""How a config writes a datatype -> how KServe and our tensors write it."""

TYPE_BY_DATATYPE: Final[Mapping[str, str]] = MappingProxyType({value: key for key, value in DATATYPE_BY_TYPE.items()})

ENSEMBLE: Final = "ensemble"
_BACKEND_BY_PLATFORM: Final[Mapping[str, str]] = MappingProxyType(
    {
        "onnxruntime_onnx": "onnxruntime",
        "tensorrt_plan": "tensorrt",
        "pytorch_libtorch": "pytorch",
        "tensorflow_graphdef": "tensorflow",
        "tensorflow_savedmodel": "tensorflow",
        "python": "python",
    }
)
_PLATFORM_BY_BACKEND: Final[Mapping[str, str]] = MappingProxyType(
    {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan", "pytorch": "pytorch_libtorch"}
)
_MAX_LABEL_BYTES: Final = 16 << 20
_MOST_REMEMBERED: Final = 32 << 10
"""Characters, or bytes, of a config that is remembered as it was parsed or written."""


def parse(text: str) -> ModelConfig:
    """Read a `config.pbtxt`.

    Raises:
        InvalidArchive: it does not parse; the message names line, column and the reason.
    """
    try:
        parsed = _parsed(text) if len(text) <= _MOST_REMEMBERED else _parsed.__wrapped__(text)
        return pb.ModelConfig.FromString(parsed)
    except text_format.ParseError as error:
        raise InvalidArchive(f"config.pbtxt does not parse: line {error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidArchive(f"config.pbtxt does not parse: {error}") from error


@lru_cache(maxsize=512)
def _parsed(text: str) -> bytes:
    """To parse takes 2 ms, to copy what was parsed nothing. A thousand heads of one base have the same few texts."""
    parsed: bytes = text_format.Parse(text, pb.ModelConfig()).SerializeToString()
    return parsed


def render(config: ModelConfig) -> str:
    """Write a config as text: the same message always gives the same text (fields by number, map entries by key)."""
    message = config.SerializeToString(deterministic=True)
    return _rendered(message) if len(message) <= _MOST_REMEMBERED else _rendered.__wrapped__(message)


@lru_cache(maxsize=512)
def _rendered(message: bytes) -> str:
    return str(text_format.MessageToString(pb.ModelConfig.FromString(message), as_utf8=True))


def canonical(config: ModelConfig) -> ModelConfig:
    """A copy in which backend and platform are both spelled out, however the author named the one or the other."""
    result = pb.ModelConfig()
    result.CopyFrom(config)
    if is_ensemble(result):
        result.platform = ENSEMBLE
        result.backend = ""
        return result
    result.backend = backend_of(result)
    if result.platform in _BACKEND_BY_PLATFORM or not result.platform:
        result.platform = _PLATFORM_BY_BACKEND.get(result.backend, _tensorflow_platform(result))
    return result


def _tensorflow_platform(config: ModelConfig) -> str:
    """TensorFlow has two file formats under one backend: there the platform says more than the backend."""
    return str(config.platform) if config.backend == "tensorflow" else ""


def canonical_text(config: ModelConfig) -> str:
    """The text that digests count: canonical, and without the name, which is not part of what a step does."""
    nameless = canonical(config)
    nameless.name = ""
    return render(nameless)


def is_ensemble(config: ModelConfig) -> bool:
    """Whether the config is an ensemble: by its platform, or by having a schedule."""
    return config.platform == ENSEMBLE or bool(config.HasField("ensemble_scheduling"))


def backend_of(config: ModelConfig) -> str:
    """The backend's name (`ensemble` for an ensemble), "" where the config does not tell."""
    if is_ensemble(config):
        return ENSEMBLE
    return str(config.backend) or _BACKEND_BY_PLATFORM.get(config.platform, "")


def parameter(config: ModelConfig, key: str) -> str | None:
    """The string value of a config parameter, `None` where it is not there."""
    if key not in config.parameters:  # protobuf maps add what they are asked for
        return None
    return str(config.parameters[key].string_value)


def is_complete(config: ModelConfig) -> bool:
    """Whether nothing is left to find out: backend known, inputs and outputs there, each with datatype and dims."""
    tensors = [*config.input, *config.output]
    return (
        bool(backend_of(config))
        and bool(config.input)
        and bool(config.output)
        and all(tensor.name and tensor.data_type and (tensor.dims or tensor.HasField("reshape")) for tensor in tensors)
    )


def datatype(data_type: int) -> str:
    """`TYPE_FP32` as its protobuf number -> "FP32".

    Raises:
        InvalidArchive: a number without a meaning, or TYPE_INVALID.
    """
    try:
        return DATATYPE_BY_TYPE[pb.DataType.Name(data_type)]
    except (KeyError, ValueError) as error:
        raise InvalidArchive(
            f"data_type {data_type} is not a tensor datatype; write one of {', '.join(DATATYPE_BY_TYPE)}"
        ) from error


def signature(config: ModelConfig, directory: Path) -> ModelSignature:
    """What the model takes and gives on the wire; `reshape` is the backend's own matter and not applied.

    Label files are read from `directory`, the model's folder.

    Raises:
        InvalidArchive: a datatype is missing, or a label file is missing, unreadable or outside the folder.
    """
    return ModelSignature(
        platform=_platform(config),
        max_batch_size=max(0, config.max_batch_size),
        inputs=tuple(_specs(config.input, directory)),
        outputs=tuple(_specs(config.output, directory)),
        is_decoupled=config.model_transaction_policy.decoupled,
    )


def _platform(config: ModelConfig) -> str:
    """What KServe metadata calls the platform: as Triton says it."""
    full = canonical(config)
    return str(full.platform or full.backend)


def _specs(tensors: Iterable[Any], directory: Path) -> Iterable[TensorSpec]:
    for tensor in tensors:
        if not tensor.data_type:
            raise InvalidArchive(f"tensor {tensor.name!r} has no data_type")
        label_file = getattr(tensor, "label_filename", "")
        yield TensorSpec(
            name=tensor.name,
            datatype=datatype(tensor.data_type),
            dims=tuple(tensor.dims),
            is_optional=getattr(tensor, "optional", False),
            labels=_labels(directory, label_file) if label_file else (),
        )


def _labels(directory: Path, file_name: str) -> tuple[str, ...]:
    home = directory.resolve()
    path = (home / file_name).resolve()
    if not path.is_relative_to(home):
        raise InvalidArchive(f"label_filename {file_name!r} points outside the model's folder")
    try:
        if path.stat().st_size > _MAX_LABEL_BYTES:
            raise InvalidArchive(f"label file {file_name!r} is larger than {_MAX_LABEL_BYTES} bytes")
        return tuple(path.read_text("utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise InvalidArchive(f"label file {file_name!r} is missing or not UTF-8 text") from error
