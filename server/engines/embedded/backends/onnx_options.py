"""From a model config to ONNX Runtime's session options and execution providers, as NVIDIA's backend reads it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import onnxruntime as ort
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelOptimizationPolicy

from server.archive.model_config import parameter
from server.domain.errors import InvalidArchive, UnsupportedModel
from server.domain.model import CPU, Device
from server.engines.embedded.config.devices import Hardware

Provider: TypeAlias = tuple[str, dict[str, str]]

# The arena keeps the scratch memory of the largest batch for ever, in each session; malloc, tuned in host_memory.py, is
# as fast and shares the scratch among all sessions (MiniLM after a batch of 32 x 128 tokens: 4 MB kept, not 116 MB).
_ARENA_DEFAULT: Final = "0"

_ERRORS_ONLY: Final = 3

_LEVELS: Final = MappingProxyType(
    {
        -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        0: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
        1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    }
)

_TENSORRT_NAMES: Final = MappingProxyType(
    {
        "max_workspace_size_bytes": "trt_max_workspace_size",
        "int8_calibration_table_name": "trt_int8_calibration_table_name",
        "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
    }
)
_PRECISIONS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"FP32": {}, "FP16": {"trt_fp16_enable": "1"}, "INT8": {"trt_int8_enable": "1"}}
)
_CUDA_PARAMETERS: Final = ("cudnn_conv_algo_search", "gpu_mem_limit", "do_copy_in_default_stream")


def session_options(config: ModelConfig, threads: int, *, spins: bool = False) -> ort.SessionOptions:
    """Options by `parameters` and `optimization.graph.level`; `threads` is the default of one execution.

    `spins`: whether those threads wait for work by spinning, which is quicker where nobody else wants their cores.

    Raises InvalidArchive for values that are no numbers.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # A number instead of 0: with 0 the runtime pins its threads to cores, and all sessions to the same ones.
    options.intra_op_num_threads = _number(config, "intra_op_thread_count") or threads
    options.inter_op_num_threads = _number(config, "inter_op_thread_count")
    if _number(config, "execution_mode"):
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = _text(config, "enable_mem_arena", _ARENA_DEFAULT) == "1"
    options.enable_mem_pattern = _text(config, "enable_mem_pattern", "1") == "1"
    level = config.optimization.graph.level
    if level not in _LEVELS:
        raise InvalidArchive(f"model {config.name!r}: optimization.graph.level must be -1, 0, 1 or 2, got {level}")
    options.graph_optimization_level = _LEVELS[level]
    # Spinning threads of one session steal the cores of all others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # With an arena: weights outside it, so that it holds scratch memory only.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    for key, value in config.parameters.items():
        if key.startswith("session."):
            options.add_session_config_entry(key, value.string_value)
    return options


def providers(config: ModelConfig, device: Device, hardware: Hardware) -> list[Provider]:
    """Execution providers in order of preference. Raises UnsupportedModel for accelerators that are not here."""
    accelerators = config.optimization.execution_accelerators
    chosen: list[Provider] = []
    if device == CPU:
        chosen += [_cpu_accelerator(config, each.name, hardware) for each in accelerators.cpu_execution_accelerator]
    else:
        index = device.partition(":")[2]
        cuda = {"device_id": index, "arena_extend_strategy": "kSameAsRequested"}
        cuda |= {key: config.parameters[key].string_value for key in _CUDA_PARAMETERS if key in config.parameters}
        for accelerator in accelerators.gpu_execution_accelerator:
            if accelerator.name == "cuda":
                cuda |= dict(accelerator.parameters)
            else:
                chosen.append(_tensorrt(config, accelerator, index, hardware))
        chosen.append(("CUDAExecutionProvider", cuda))
    return [*chosen, ("CPUExecutionProvider", {})]


def _cpu_accelerator(config: ModelConfig, name: str, hardware: Hardware) -> Provider:
    if name == "openvino" and "OpenVINOExecutionProvider" in hardware.providers:
        return "OpenVINOExecutionProvider", {}
    raise UnsupportedModel(
        f"model {config.name!r} asks for the execution accelerator {name!r}, which this build of ONNX Runtime does not "
        "have; remove it from optimization.execution_accelerators"
    )


def _tensorrt(
    config: ModelConfig,
    accelerator: ModelOptimizationPolicy.ExecutionAccelerators.Accelerator,
    index: str,
    here: Hardware,
) -> Provider:
    if accelerator.name != "tensorrt" or "TensorrtExecutionProvider" not in here.providers:
        return _cpu_accelerator(config, accelerator.name, Hardware())
    options = {"device_id": index}
    for key, value in accelerator.parameters.items():
        if key == "precision_mode":
            if value not in _PRECISIONS:
                raise InvalidArchive(f"model {config.name!r}: precision_mode must be FP32, FP16 or INT8, got {value!r}")
            options |= _PRECISIONS[value]
        else:
            options[_TENSORRT_NAMES.get(key, key)] = value
    return "TensorrtExecutionProvider", options


def _text(config: ModelConfig, key: str, default: str) -> str:
    return parameter(config, key) or default


def _number(config: ModelConfig, key: str) -> int:
    text = _text(config, key, "0")
    if not text.isdecimal():
        raise InvalidArchive(f"model {config.name!r}: parameter {key} must be a number, got {text!r}")
    return int(text)
