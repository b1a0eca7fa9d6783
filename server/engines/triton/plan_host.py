"""What decides whether a TensorRT plan runs on this host: the GPUs and the TensorRT library. Blocking; asked once."""

import logging
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_log = logging.getLogger("roundhouse.triton")
_QUERY: Final = ("--query-gpu=name,compute_cap", "--format=csv,noheader")
_LIBRARY_FOLDERS: Final = (
    Path("/usr/lib/x86_64-linux-gnu"),
    Path("/usr/lib/aarch64-linux-gnu"),
    Path("/usr/local/tensorrt/lib"),
    Path("/opt/tritonserver/lib"),
)
_LIBRARY: Final = re.compile(r"libnvinfer\.so\.(\d+\.\d+[\d.]*)$")


@dataclass(frozen=True, slots=True)
class HostGpu:
    """One GPU: its name, and its compute capability as "9.0"."""

    name: str
    compute_capability: str


@dataclass(frozen=True, slots=True)
class PlanHost:
    """`gpus` in the order of their indices. `tensorrt` is the library's version ("11.4.0"), "" where unknown."""

    gpus: tuple[HostGpu, ...] = ()
    tensorrt: str = ""


def ask_nvidia_smi() -> str:
    """One line `name, capability` per GPU; "" without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        return subprocess.run([tool, *_QUERY], capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("nvidia-smi is there but does not answer: %s", error)
        return ""


def look_around(ask: Callable[[], str] = ask_nvidia_smi, folders: tuple[Path, ...] = _LIBRARY_FOLDERS) -> PlanHost:
    """Read the GPUs, and TensorRT's version from the full name of its library."""
    rows = [line.rsplit(",", 1) for line in ask().splitlines() if "," in line]
    return PlanHost(tuple(HostGpu(name.strip(), capability.strip()) for name, capability in rows), _tensorrt(folders))


def _tensorrt(folders: tuple[Path, ...]) -> str:
    """`libnvinfer.so.11.4.0` -> "11.4.0"; short names such as `libnvinfer.so.11` are links to it."""
    names = (file.resolve().name for folder in folders for file in sorted(folder.glob("libnvinfer.so*")))
    return next((found[1].rstrip(".") for name in names if (found := _LIBRARY.search(name))), "")
