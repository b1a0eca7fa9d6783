"""Which memories this host has and how much of each may hold models.

A container's own limit counts, not the machine's. GPUs are asked through `nvidia-smi`, which NVIDIA's drivers bring;
no GPU has been at hand while this was written, so that part is checked against recorded output only.
"""

import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from server.domain.model import CPU, Device

HOST_SHARE: Final = 0.7
"""The rest is for request bodies, tensors in flight, the page cache and this process itself."""
GPU_SHARE: Final = 0.9
"""The rest is for CUDA contexts, activations and fragmentation."""

_CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_log = logging.getLogger(__name__)


def budgets(host: int | None, per_gpu: int | None) -> dict[Device, int]:
    """Bytes per device that resident steps may take; `None` means: decide from what the host has."""
    found = {CPU: host if host is not None else int(host_memory_bytes() * HOST_SHARE)}
    for index, total in enumerate(gpu_memory_bytes()):
        found[f"gpu:{index}"] = per_gpu if per_gpu is not None else int(total * GPU_SHARE)
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


def _ask_nvidia_smi() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    query = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("nvidia-smi is there but does not answer, so no GPU is used: %s", error)
        return ""


def gpu_memory_bytes(ask: Callable[[], str] = _ask_nvidia_smi) -> list[int]:
    """Memory of each GPU, in the order of their indices; empty without a driver."""
    return [int(line) * 1024**2 for line in ask().splitlines() if line.strip().isdigit()]
