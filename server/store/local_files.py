"""Identity of files and folders on disk, and the rule that links may not lead out of the store. Blocking."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from server.domain.errors import InvalidArchive


def identity(path: Path, boundary: Path) -> str:
    """Name the content at `path` by what `stat` says: cheap, and different when a file was replaced or touched.

    Raises:
        InvalidArchive: a link inside the folder leads out of `boundary`.
        OSError: as the file system says.
    """
    if not path.is_dir():
        return file_identity(path.stat())
    digest = hashlib.sha256()
    for relative, info in sorted(files(path, boundary)):
        digest.update(f"{relative}\0{info.st_size}\0{info.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def file_identity(info: os.stat_result) -> str:
    """The identity of one file."""
    return f"{info.st_mtime_ns:x}-{info.st_size:x}-{info.st_ino:x}"


def files(folder: Path, boundary: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below `folder` with its relative path; links to files count as what they lead to.

    Raises:
        InvalidArchive: a link leads out of `boundary`, or is a link to a folder.
        OSError: as the file system says.
    """
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_symlink():
                    _require_inside(path, folder, boundary)
                elif entry.is_dir():
                    pending.append(path)
                    continue
                yield path.relative_to(folder).as_posix(), entry.stat()


def total_bytes(path: Path, boundary: Path) -> int:
    """Size of a file, or of all files of a folder. Raises as `files`."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(info.st_size for _, info in files(path, boundary))


def leads_out(path: Path, boundary: Path) -> bool:
    """Whether `path`, with its links followed, lies outside `boundary`."""
    return not path.resolve().is_relative_to(boundary.resolve())


def _require_inside(link: Path, folder: Path, boundary: Path) -> None:
    shown = link.relative_to(folder).as_posix()
    if leads_out(link, boundary):
        raise InvalidArchive(f"the link {shown!r} leads out of the store; put the file itself into the archive")
    if link.is_dir():
        raise InvalidArchive(f"{shown!r} is a link to a folder; put the folder itself into the archive")
