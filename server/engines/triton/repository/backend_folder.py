"""The backend directory that tritonserver is pointed at.

Triton loads a backend from `<folder>/<name>/`, either `libtriton_<name>.so` or, with `model.py`, on top of the Python
backend. A Triton that lacks `onnxruntime` or `dali` gets ours of the second kind. What it has natively is never
replaced.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from server.engines.triton.process.discovery import Installation

OURS: Final = Path(__file__).parents[1] / "python_backends"
_SERVER: Final = Path(__file__).parents[3]
SHARED_FILES: Final[Mapping[str, tuple[Path, ...]]] = MappingProxyType(
    {"dali": (_SERVER / "engines" / "dali_pipeline.py", _SERVER / "domain" / "image_header.py")}
)
"""What both engines run of a backend: copied beside its `model.py`, since the stub cannot import `server`."""
_STUB: Final = "triton_python_backend_stub"


def missing_backends(installation: Installation) -> list[str]:
    """Names of the backends that we bring and this Triton lacks, sorted."""
    return sorted(
        entry.name for entry in OURS.iterdir() if entry.is_dir() and not (installation.backends / entry.name).exists()
    )


def build(installation: Installation, into: Path) -> Path:
    """Return a folder with all backends of `installation` and of ours; `into` is written only if one is missing.

    Raises:
        OSError: `into` cannot be written.
    """
    missing = [name for name in missing_backends(installation) if (OURS / name / "model.py").is_file()]
    if not missing and installation.python_stub is None:
        return installation.backends
    into.mkdir(parents=True)
    for entry in installation.backends.iterdir():
        if entry.name != "python":
            (into / entry.name).symlink_to(entry)
    _place_python(installation, into / "python")
    for name in missing:
        shutil.copytree(OURS / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))
        for file in SHARED_FILES.get(name, ()):
            shutil.copyfile(file, into / name / file.name)
    return into


def _place_python(installation: Installation, folder: Path) -> None:
    """The Python backend as real files: Triton refuses a backend library that is a link out of its folder."""
    source = installation.backends / "python"
    if not source.is_dir():
        return
    folder.mkdir()
    for entry in source.iterdir():
        if entry.is_file():
            _link_or_copy(entry, folder / entry.name)
    if installation.python_stub is not None:
        _link_or_copy(installation.python_stub, folder / _STUB)


def _link_or_copy(source: Path, target: Path) -> None:
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:  # another file system, or no right to link
        shutil.copy2(source, target)
