"""The boundary to ONNX Runtime: its messages become our failures, by a table."""

from typing import Final

from onnxruntime.capi import onnxruntime_pybind11_state as native

from server.domain.errors import DeviceFull, InferenceFailed, InvalidRequest, LoadFailed, RoundhouseError
from server.domain.model import Device, Step

_OUT_OF_MEMORY: Final = (
    "failed to allocate memory",  # BFCArena
    "out of memory",  # cudaMalloc, cudaErrorMemoryAllocation
    "cuda_error_out_of_memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cudnn_status_internal_error_device_allocation_failed",
    "bad_alloc",  # malloc
    "bad allocation",
    "available memory of",  # BFCArena with gpu_mem_limit
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of the runtime says that a device is full."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(words in message for words in _OUT_OF_MEMORY)


def load_error(step: Step, device: Device, error: BaseException) -> RoundhouseError:
    """What a failed session creation means."""
    if is_out_of_memory(error):
        return DeviceFull(step.name, device, said=_without_paths(step, error))
    return LoadFailed(f"model {step.name!r}: ONNX Runtime refused the model: {_without_paths(step, error)}")


def run_error(step: Step, device: Device, error: BaseException) -> RoundhouseError:
    """What a failed run means. INVALID_ARGUMENT is about the inputs: shapes that the config left open."""
    if is_out_of_memory(error):
        return DeviceFull(step.name, device, said=_without_paths(step, error))
    if isinstance(error, native.InvalidArgument):
        return InvalidRequest(f"model {step.name!r}: {_without_paths(step, error)}")
    return InferenceFailed(f"model {step.name!r}: ONNX Runtime failed: {_without_paths(step, error)}")


def _without_paths(step: Step, error: BaseException) -> str:
    message = " ".join(str(error).split())
    for folder in (step.directory.resolve(), step.directory):
        message = message.replace(f"{folder}/", "")
    return message
