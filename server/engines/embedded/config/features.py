"""What a config may ask for that this engine does not have; each refusal names the feature and who has it. Pure.

`dynamic_batching` lets steps share executions whose backends can do that (`running/dynamic_batches.py`); elsewhere, and
in its finer points (priorities, queue limits, preferred sizes), it is accepted and left to whoever merges whole
requests (`serving/batcher.py`). `optimization.priority`, `rate_limiter` and `host_policy` are ignored. All of them
change when something runs, never what comes out.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup

from server.archive.model_config import backend_of
from server.domain.errors import UnsupportedModel

_TRITON: Final = "the Triton engine has it: start the server with --engine triton"

_HINT_BY_BACKEND: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tensorrt": "TensorRT plans run on the Triton engine, on a GPU: start the server with --engine triton",
    }
)

_FEATURES: Final[tuple[tuple[str, Callable[[ModelConfig], bool]], ...]] = (
    ("sequence_batching", lambda config: config.HasField("sequence_batching")),
    (
        "response_cache of a decoupled model",
        lambda config: config.response_cache.enable and config.model_transaction_policy.decoupled,
    ),
    ("custom operators (model_operations)", lambda config: bool(config.model_operations.op_library_filename)),
    ("ragged batches (batch_input, batch_output)", lambda config: bool(config.batch_input or config.batch_output)),
    ("ragged batches (allow_ragged_batch)", lambda config: _is_ragged(config) and not _takes_ragged(config)),
    ("shape tensors", lambda config: any(each.is_shape_tensor for each in (*config.input, *config.output))),
    ("KIND_MODEL instances of onnxruntime", lambda config: _is_onnx(config) and _has_kind_model(config)),
    ("decoupled onnxruntime models", lambda config: _is_onnx(config) and config.model_transaction_policy.decoupled),
)


def require_supported(config: ModelConfig, backends: Mapping[str, object]) -> None:
    """Raise UnsupportedModel unless this engine, with those backends, can do all that `config` asks for."""
    backend = backend_of(config)
    if backend not in backends:
        hint = _HINT_BY_BACKEND.get(backend, "the Triton engine may have it: start the server with --engine triton")
        raise UnsupportedModel(f"model {config.name!r} needs the backend {backend!r}, which is not here; {hint}")
    for feature, is_asked in _FEATURES:
        if is_asked(config):
            raise UnsupportedModel(f"model {config.name!r} asks for {feature}, which is not here; {_TRITON}")
    for tensor in (*config.input, *config.output):
        if tensor.data_type == DataType.TYPE_BF16 and backend == "onnxruntime":
            raise UnsupportedModel(
                f"model {config.name!r}: tensor {tensor.name!r} is BF16, which ONNX Runtime cannot share with numpy; "
                "cast to FP32 or FP16 at the model's edges"
            )


def _is_ragged(config: ModelConfig) -> bool:
    return any(each.allow_ragged_batch for each in config.input)


def _takes_ragged(config: ModelConfig) -> bool:
    """Backends that see each request by itself: there a ragged batch is several requests, as in Triton."""
    return backend_of(config) in {"dali", "python"}


def _is_onnx(config: ModelConfig) -> bool:
    return backend_of(config) == "onnxruntime"


def _has_kind_model(config: ModelConfig) -> bool:
    return any(group.kind == ModelInstanceGroup.KIND_MODEL for group in config.instance_group)
