"""Which engine, and which version of it: measured footprints hold for no other."""

import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

RUNTIMES: Final = ("onnxruntime", "onnxruntime-gpu", "nvidia-dali-cuda120", "nvidia-dali-cuda110")
"""What loads weights inside this process, by the names of the packages."""
CONTAINER: Final = ("NVIDIA_TRITON_SERVER_VERSION", "TRITON_SERVER_VERSION")
"""How NVIDIA's container says which Triton it has."""


def engine_version(kind: str, triton: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """`kind` of engine and what it is made of, in words. `triton`: where the operator says that Triton is.

    Nothing is imported or started for it. A Triton that somebody put there is known by the time of its program.
    """
    parts = _installed() if kind == "embedded" else _triton(triton, environ)
    return " ".join([kind, *parts])


def _installed() -> Iterator[str]:
    for name in RUNTIMES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue


def _triton(root: Path | None, environ: Mapping[str, str]) -> Iterator[str]:
    yield from (environ[name] for name in CONTAINER if environ.get(name))
    program = root / "bin" / "tritonserver" if root is not None else None
    if program is not None and program.is_file():
        info = program.stat()
        yield f"{info.st_size}-{info.st_mtime_ns:x}"
