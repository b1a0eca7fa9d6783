"""Prints `bytes,compute capability,name` of each GPU that CUDA can use in this environment, one a line.

A program of its own, run by path: whoever starts CUDA carries its state from then on, and this question comes before
anybody knows whether an engine will. Asked is the driver's library, which is wherever CUDA can run (nvidia-smi is
not), and which heeds CUDA_VISIBLE_DEVICES and MIG as the runtimes do. CUDA driver API: cuInit, cuDeviceGetCount,
cuDeviceGet, cuDeviceTotalMem_v2, cuDeviceGetAttribute, cuDeviceGetName. Exits with 1 and the reason on an error.
"""

import ctypes
import sys
from collections.abc import Iterator
from typing import Any

LIBRARY = "libcuda.so.1"
_NO_DEVICE = 100
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


class CudaError(Exception):
    """The driver refused."""


def rows(driver: Any) -> Iterator[str]:
    """Ask `driver` (the loaded library) for each GPU, in CUDA's order. Raises CudaError."""
    status = driver.cuInit(0)
    if status == _NO_DEVICE:
        return
    _require("cuInit", status)
    count = ctypes.c_int()
    _require("cuDeviceGetCount", driver.cuDeviceGetCount(ctypes.byref(count)))
    for index in range(count.value):
        device, total = ctypes.c_int(), ctypes.c_size_t()
        _require("cuDeviceGet", driver.cuDeviceGet(ctypes.byref(device), index))
        _require("cuDeviceTotalMem", driver.cuDeviceTotalMem_v2(ctypes.byref(total), device))
        major, minor, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
        for number, attribute in ((major, _MAJOR), (minor, _MINOR)):
            _require("cuDeviceGetAttribute", driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device))
        _require("cuDeviceGetName", driver.cuDeviceGetName(name, _NAME_BYTES, device))
        yield f"{total.value},{major.value}.{minor.value},{name.value.decode(errors='replace')}"


def _require(call: str, status: int) -> None:
    if status != 0:
        raise CudaError(f"{call} answered with CUDA error {status}")


if __name__ == "__main__":
    try:
        for each in rows(ctypes.CDLL(LIBRARY)):
            print(each)
    except (OSError, CudaError) as problem:
        sys.exit(str(problem))
