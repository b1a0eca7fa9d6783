"""Moving, measuring and removing folders of staged files, which are read-only. Blocking."""

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from server.store.disk.ledger import StepFiles


@dataclass(frozen=True, slots=True)
class Measured:
    """What a step's folder holds. `stamp` changes when a file is added, removed, resized or touched."""

    files: StepFiles
    stamp: str


def measure(folder: Path) -> Measured:
    """Look at every file of a folder, without reading any. Raises OSError."""
    files: dict[tuple[int, int], int] = {}
    lines: list[str] = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            info = path.lstat()
            files[info.st_dev, info.st_ino] = info.st_size
            lines.append(f"{path.relative_to(folder).as_posix()}\0{info.st_size}\0{info.st_mtime_ns}\n")
    stamp = hashlib.sha256("".join(sorted(lines)).encode(errors="surrogateescape"))
    return Measured(files, stamp.hexdigest()[:32])


def move(folder: Path, target: Path) -> None:
    """Rename a folder whose own mode may forbid it (changing `..` is a write); the mode stays. Raises OSError."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    folder.chmod(mode | stat.S_IRWXU)
    folder.rename(target)
    target.chmod(mode)


def make_read_only(folder: Path) -> None:
    """Take the write permission from every file of a folder, which is ours. Raises OSError."""
    for parent, _, names in os.walk(folder):
        for name in names:
            Path(parent, name).chmod(0o444)


def remove(folder: Path) -> None:
    """Delete a folder with all its read-only content; links are not followed. Raises OSError."""
    for parent, _, _ in os.walk(folder):
        Path(parent).chmod(stat.S_IRWXU)
    shutil.rmtree(folder)
