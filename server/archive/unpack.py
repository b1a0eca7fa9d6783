"""Unpacks archives from strangers: nothing is written outside the given folder, and nothing stays after a failure."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import zstandard

from server.archive.inflate import DAMAGED, Inflated
from server.archive.tar_stream import BLOCK, Member, Readable, TarStream
from server.domain.errors import DiskFull, InvalidArchive

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW_BYTES: Final = 1 << 27  # what `zstd --long` writes; bounds the memory of a decompression
_CHUNK_BYTES: Final = 1 << 20
_DAMAGED: Final[tuple[type[Exception], ...]] = (*DAMAGED, zstandard.ZstdError)
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """What an archive may become at most.

    `total_bytes` counts the tar itself, headers included; `members` counts files and folders.
    `ratio` bounds unpacked to packed bytes, once more than `ratio_free_bytes` are unpacked: small archives of zeros
    are harmless and common in tests.
    """

    total_bytes: int = 64 << 30
    members: int = 100_000
    ratio: float = 200.0
    ratio_free_bytes: int = 256 << 20
    name_bytes: int = 1024
    depth: int = 32


Learn: TypeAlias = Callable[[Path, str], None]
"""Hears the SHA-256 (64 hex digits) of each file that was written."""


def unpack(source: BinaryIO, into: Path, limits: UnpackLimits | None = None, learn: Learn | None = None) -> None:
    """Unpack a tar (plain, gzip or zstd, told by its first bytes) into the empty folder `into`, made if missing.

    Files become read-only and lose executable bits, owners and times. `learn` spares its caller to read them again.

    Raises:
        InvalidArchive: damaged, cut off, hostile, or over a limit.
        DiskFull: no room. After any failure `into` is empty again.
    """
    into.mkdir(parents=True, exist_ok=True)
    try:
        _Unpacking(source, into, limits or UnpackLimits(), learn).run()
    except BaseException:
        _empty(into)
        raise


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


class _Counted:
    """Counts what is read, and gives back the first bytes that were read to find the compression."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._first = source.read(BLOCK)
        self.magic = self._first[:4]
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        piece, self._first = (self._first, b"") if self._first else (self._source.read(size), b"")
        if 0 <= size < len(piece):
            piece, self._first = piece[:size], piece[size:]
        self.count += len(piece)
        return piece


class _Unpacking:
    """One run over one stream."""

    def __init__(self, source: BinaryIO, into: Path, limits: UnpackLimits, learn: Learn | None) -> None:
        self._packed = _Counted(source)
        self._into = into
        self._limits = limits
        self._learn = learn
        self._unpacked_bytes = 0
        self._members = 0
        self._folders = {into}

    def run(self) -> None:
        with _translated(), self._inflated() as self._stream:
            tar = TarStream(self)
            for member in tar.members():
                self._place(member, tar)
            self._drain()

    def read(self, size: int, /) -> bytes:
        """The inflated stream, counted: whoever reads it cannot be led past the limits."""
        piece = self._stream.read(size)
        self._unpacked_bytes += len(piece)
        if self._unpacked_bytes > self._limits.total_bytes:
            raise self._too_large()
        is_bomb = self._unpacked_bytes > self._limits.ratio * self._packed.count
        if is_bomb and self._unpacked_bytes > self._limits.ratio_free_bytes:
            raise InvalidArchive(
                f"the archive unpacks to more than {self._limits.ratio:g} times its size, as decompression bombs do"
            )
        return piece

    def _too_large(self) -> InvalidArchive:
        return InvalidArchive(f"the archive unpacks to more than {self._limits.total_bytes} bytes")

    @contextlib.contextmanager
    def _inflated(self) -> Iterator[Readable]:
        if self._packed.magic.startswith(_GZIP_MAGIC):
            yield Inflated(self._packed)
        elif self._packed.magic == _ZSTD_MAGIC:
            decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
            with decompressor.stream_reader(self._packed, read_across_frames=True) as inflated:  # type: ignore[arg-type]
                yield inflated
        else:
            yield self._packed

    def _place(self, member: Member, tar: TarStream) -> None:
        parts = self._safe_parts(member.name)
        if not parts:
            if member.is_folder:
                return  # "./", the packed folder itself
            raise InvalidArchive(f"the archive has a file without a name ({member.name!r})")
        if self._unpacked_bytes + member.size > self._limits.total_bytes:
            raise self._too_large()
        target = self._into.joinpath(*parts)
        if member.is_folder:
            self._make_folder(target, member.name)
            return
        self._make_folder(target.parent, member.name)
        self._count_member()
        self._write(target, member.name, tar)

    def _safe_parts(self, name: str) -> list[str]:
        """The name's components, or a refusal."""
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if name.startswith("/") or ".." in parts or _CONTROL.search(name) or _DRIVE.match(name):
            raise InvalidArchive(f"the name {name!r} in the archive points outside of it, or is not portable")
        size = len(name.encode())
        if size > self._limits.name_bytes or any(len(part.encode()) > 255 for part in parts):
            raise InvalidArchive(f"a name in the archive is too long ({size} bytes): {name[:40]!r}...")
        if len(parts) > self._limits.depth:
            raise InvalidArchive(f"a name in the archive is nested {len(parts)} folders deep: {name[:40]!r}...")
        return parts

    def _count_member(self) -> None:
        self._members += 1
        if self._members > self._limits.members:
            raise InvalidArchive(f"the archive has more than {self._limits.members} files and folders")

    def _make_folder(self, path: Path, name: str) -> None:
        if path in self._folders:
            return
        self._make_folder(path.parent, name)
        self._count_member()
        self._folders.add(path)
        try:
            path.mkdir()
        except FileExistsError as error:
            raise InvalidArchive(f"{name!r} in the archive needs a folder where there is a file already") from error

    def _write(self, path: Path, name: str, tar: TarStream) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        try:
            descriptor = os.open(path, flags, 0o444)
        except FileExistsError as error:
            raise InvalidArchive(f"{name!r} is in the archive twice") from error
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
            digest = hashlib.sha256()
            for piece in tar.data():
                _write_all(file.fileno(), piece)
                if self._learn is not None:
                    digest.update(piece)  # while the processor still has it at hand
        if self._learn is not None:
            self._learn(path, digest.hexdigest())

    def _drain(self) -> None:
        """Read to the end, where the checksum of the compression is."""
        while piece := self.read(_CHUNK_BYTES):
            if any(piece):
                raise InvalidArchive("the archive goes on after its end; is it two archives in one file?")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """What gzip, zstd and the file system raise -> our tree."""
    try:
        yield
    except _DAMAGED as error:
        raise InvalidArchive(f"the archive is damaged or cut off: {error}") from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFull("no room left on the disk to unpack the archive") from error
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidArchive("a name in the archive is too long for this file system") from error
        raise
