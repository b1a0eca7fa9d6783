"""Packs a folder into an archive: the same files give the same bytes, so archives can be compared and cached."""

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

import zstandard

from server.archive.deflate import GzipWriter
from server.archive.model_folder import is_ignored
from server.domain.errors import InvalidArchive

DEFAULT_LEVEL: Final = 6
SUFFIXES: Final = (".tar.gz", ".tgz", ".tar.zst", ".tar")


def pack(folder: Path, to: Path, level: int = DEFAULT_LEVEL) -> None:
    """Pack the content of `folder` into `to`, whose suffix (one of `SUFFIXES`) chooses the compression.

    Names are sorted; times, owners and modes are not kept; hidden files and `__pycache__` stay behind; a link to a file
    is packed as that file. `to` appears only when it is whole.

    Raises:
        InvalidArchive: unknown suffix, not a folder, or something in it that is neither file nor folder.
    """
    if not to.name.endswith(SUFFIXES):
        raise InvalidArchive(f"{to.name!r} does not end in one of {', '.join(SUFFIXES)}")
    if not folder.is_dir():
        raise InvalidArchive(f"{folder.name!r} is not a folder")
    entries = [path for path in _entries(folder) if path != to]
    descriptor, name = tempfile.mkstemp(prefix=".pack-", dir=to.parent)
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            _write(folder, entries, file, to.name, level)
        temporary.chmod(0o644)
        temporary.replace(to)
    finally:
        temporary.unlink(missing_ok=True)


def _entries(folder: Path) -> Iterator[Path]:
    """All files and folders below, depth first, sorted by name: the order of the archive."""
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if is_ignored(entry.name):
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield path
            yield from _entries(path)
        elif path.is_file():
            yield path
        else:
            raise InvalidArchive(f"{path.name!r} is neither a file nor a folder, and cannot be packed")


def _write(folder: Path, entries: list[Path], file: IO[bytes], name: str, level: int) -> None:
    with (
        _compressed(file, name, level) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in entries:
            _add(tar, path, path.relative_to(folder).as_posix())


@contextlib.contextmanager
def _compressed(file: IO[bytes], name: str, level: int) -> Iterator[IO[bytes]]:
    if name.endswith((".tar.gz", ".tgz")):
        with GzipWriter(file, level) as stream:
            yield cast("IO[bytes]", stream)
    elif name.endswith(".zst"):
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        with compressor.stream_writer(file, closefd=False) as stream:
            yield stream
    else:
        yield file


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    if path.is_dir():
        member.type = tarfile.DIRTYPE
        member.mode = 0o755
        tar.addfile(member)
        return
    with path.open("rb") as content:
        member.size = os.fstat(content.fileno()).st_size
        member.mode = 0o644
        tar.addfile(member, content)
