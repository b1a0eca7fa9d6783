"""A build's working folder, and its way into the archive that is asked for."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from builders.pipeline.progress import stage
from server.archive.manifest import Manifest, write_manifest
from server.archive.pack import pack

_LEVEL = 1
"""Weights hardly compress: level 6 takes half as long again for 0.4 % less."""

Format: TypeAlias = Literal["tar.gz", "tar.zst", "folder"]


@contextmanager
def work_folder(beside: Path) -> Iterator[Path]:
    """A temporary folder on the output's own file system, so that finishing is a rename and links stay possible."""
    beside.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".build-", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def linked_copy(source: Path, to: Path) -> None:
    """Copy a folder of finished files, which never change: a hard link is as good as a copy, and free."""
    shutil.copytree(source, to, copy_function=_link_or_copy)


def place_step_sources(step: str, version_folder: Path) -> None:
    """Copy a Python step's sources (`model.py`, `logic.py` and what they import) into its version folder."""
    source = Path(__file__).resolve().parents[1] / "python_steps" / step
    version_folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.glob("*.py")):
        if file.name != "__init__.py":
            shutil.copyfile(file, version_folder / file.name)


def place_empty_version(model: Path) -> None:
    """Make the version folder of a model that has no files of its own: Triton wants one even where it is empty."""
    (model / "1").mkdir(parents=True, exist_ok=True)
    (model / "1" / ".keep").touch()


def finish(folder: Path, manifest: Manifest | None, to: Path) -> Path:
    """Write the manifest, if any, and turn the folder into the archive `to` (by its suffix; no suffix is a folder)."""
    if manifest is not None:
        write_manifest(manifest, folder)
    if "".join(to.suffixes[-2:]) in {".tar.gz", ".tar.zst"} or to.suffix in {".tgz", ".tar"}:
        with stage(f"pack {to.name}"):
            pack(folder, to, level=_LEVEL)
        return to
    if to.exists():
        shutil.rmtree(to)
    folder.rename(to)
    to.chmod(0o755)
    return to


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
