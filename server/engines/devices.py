"""Which memories this host has and how much of each may hold models. The one place where GPUs are counted.

A container's own limit counts, not the machine's. GPUs are asked through CUDA's driver (`ask_cuda.py`); no GPU has been
at hand while this was written, so that part is checked against a driver that was made up.
"""

import ctypes
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from server.domain.model import CPU, Device
from server.engines import ask_cuda

HOST_SHARE: Final = 0.7
"""The rest is for request bodies, tensors in flight, the page cache and this process itself."""
GPU_SHARE: Final = 0.9
"""The rest is for CUDA contexts, activations and fragmentation."""
_ASK_S: Final = 60.0
"""A cold driver takes tens of seconds to start where nothing keeps it (no persistence mode)."""

_CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_log = logging.getLogger(__name__)


def budgets(
    host: int | None,
    per_gpu: int | None,
    gpu_share: float = GPU_SHARE,
    gpu_totals: Callable[[], Sequence[int]] | None = None,
) -> dict[Device, int]:
    """Bytes per device that resident steps may take; `None` means: decide from what the host has.

    `gpu_share` of a GPU's memory may be taken where `per_gpu` does not say it in bytes.
    """
    found = {CPU: host if host is not None else int(host_memory_bytes() * HOST_SHARE)}
    for index, total in enumerate((gpu_totals or gpu_memory_bytes)()):
        found[f"gpu:{index}"] = per_gpu if per_gpu is not None else int(total * gpu_share)
    return found


def host_memory_bytes(limits: tuple[Path, ...] = _CGROUP_LIMITS) -> int:
    """Memory that this container may use: its limit, or the machine's memory where it has none."""
    total = int(psutil.virtual_memory().total)
    for path in limits:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def _ask_driver() -> str:
    try:
        ctypes.CDLL(ask_cuda.LIBRARY)  # only mapped: nothing starts by this
    except OSError:
        return ""
    try:
        asked = [sys.executable, "-I", "-S", ask_cuda.__file__]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=_ASK_S).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or error
        _log.warning("CUDA's driver is there but does not work, so no GPU is used: %s", str(said).strip())
        return ""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that CUDA can use here. `compute_capability` is like "9.0"."""

    memory_bytes: int
    compute_capability: str
    name: str


def gpus(ask: Callable[[], str] = _ask_driver) -> list[Gpu]:
    """Every GPU, in the order of their indices; empty without a driver. Blocks, for seconds with a cold driver."""
    found = (line.split(",", 2) for line in ask().splitlines())
    return [Gpu(int(row[0]), row[1], row[2]) for row in found if len(row) == 3 and row[0].isdigit()]


def gpu_memory_bytes() -> list[int]:
    """Memory of each GPU, in the order of their indices."""
    return [gpu.memory_bytes for gpu in gpus()]
