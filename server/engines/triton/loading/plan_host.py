"""What decides whether a TensorRT plan runs on this host: the GPUs and the TensorRT library. Blocking; asked once."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.engines import devices
from server.engines.devices import Gpu

_LIBRARY_FOLDERS: Final = (
    Path("/usr/lib/x86_64-linux-gnu"),
    Path("/usr/lib/aarch64-linux-gnu"),
    Path("/usr/local/tensorrt/lib"),
    Path("/opt/tritonserver/lib"),
)
_LIBRARY: Final = re.compile(r"libnvinfer\.so\.(\d+\.\d+[\d.]*)$")


@dataclass(frozen=True, slots=True)
class PlanHost:
    """`gpus` in the order of their indices. `tensorrt` is the library's version ("11.4.0"), "" where unknown."""

    gpus: tuple[Gpu, ...] = ()
    tensorrt: str = ""


def look_around(
    ask: Callable[[], Sequence[Gpu]] = devices.gpus, folders: tuple[Path, ...] = _LIBRARY_FOLDERS
) -> PlanHost:
    """Read the GPUs as CUDA numbers them, and TensorRT's version from the full name of its library."""
    return PlanHost(tuple(ask()), _tensorrt(folders))


def _tensorrt(folders: tuple[Path, ...]) -> str:
    """`libnvinfer.so.11.4.0` -> "11.4.0"; short names such as `libnvinfer.so.11` are links to it."""
    names = (file.resolve().name for folder in folders for file in sorted(folder.glob("libnvinfer.so*")))
    return next((found[1].rstrip(".") for name in names if (found := _LIBRARY.search(name))), "")
