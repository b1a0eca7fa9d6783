"""What a step will take, and what it took. Host memory is measured as host_memory.py says. Pure, but for the config.

A measurement counts what the whole process gained, so the engine loads one step at a time. Requests that run in that
window add their own scratch memory: then the measurement is kept near what was expected.
"""

from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.archive.model_config import parameter
from server.domain.model import CPU, Device, Footprint, Step

_FLOOR_BYTES: Final = 64 << 10
_SMALL_FILES_BYTES: Final = 1 << 20

# Seen: a 90.3 MB ONNX file takes 91.0 MB (as one file), a 90.2 MB one with its weights apart 91.6 MB.
_ONNX_FACTOR: Final = 1.02
_ONNX_CONSTANT_BYTES: Final = 1 << 20
_ONNX_GPU_CONSTANT_BYTES: Final = 64 << 20  # workspaces of cuBLAS and cuDNN per session; not measured yet
_PYTHON_PROCESS_BYTES: Final = 22 << 20  # an interpreter with numpy, libraries not included: 21.4 MB were seen
# Seen: 25 MB of scratch after batches of 8 photos of 640x480; a GPU pipeline's decoders keep more, not measured yet.
_DALI_BYTES: Final = 24 << 20
_DALI_GPU_BYTES: Final = 256 << 20

_DISTURBED_RANGE: Final = (0.75, 1.25)


def predicted(step: Step, config: ModelConfig | None, device: Device) -> Footprint:
    """What an earlier load measured, or a guess from the files. `config` may be missing where it cannot be read."""
    if step.predicted.bytes_by_device:
        return step.predicted
    if step.backend == "ensemble":
        return Footprint({CPU: _FLOOR_BYTES})
    if step.backend == "python":
        is_in_process = config is not None and parameter(config, "EXECUTION") == "in-process"
        return Footprint({CPU: step.file_bytes + (_SMALL_FILES_BYTES if is_in_process else _PYTHON_PROCESS_BYTES)})
    if step.backend == "dali":
        host = {CPU: _DALI_BYTES}
        return Footprint(host if device == CPU else {**host, device: _DALI_GPU_BYTES})
    weights = int(step.file_bytes * _ONNX_FACTOR)
    if device == CPU:
        return Footprint({CPU: weights + _ONNX_CONSTANT_BYTES})
    return Footprint({CPU: _ONNX_CONSTANT_BYTES, device: weights + _ONNX_GPU_CONSTANT_BYTES})


def measured(step: Step, gained_bytes: int, expected_bytes: int, *, is_disturbed: bool) -> int:
    """What to charge for host memory: what was gained, within reason, and never less than a floor."""
    if is_disturbed:
        low, high = (int(expected_bytes * factor) for factor in _DISTURBED_RANGE)
        gained_bytes = min(max(gained_bytes, low), high)
    floor = _DALI_BYTES if step.backend == "dali" else _FLOOR_BYTES  # its buffers grow with its first pictures
    return max(gained_bytes, floor, min(step.file_bytes, _SMALL_FILES_BYTES))
