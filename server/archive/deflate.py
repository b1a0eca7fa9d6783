"""Writes gzip in which what hardly shrinks is stored as it is: any gunzip reads it, and far faster.

Weights are noise to a compressor: MiniLM's 90.8 MB become 83.4 MB, and to inflate them again takes 0.8 s of a cold
start. Stored, they are read at the speed of a copy. Which way a piece goes is decided by its own bytes alone, so the
same content gives the same archive.
"""

import struct
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Final, Self

_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # deflate, no name, no time, unknown system
_PIECE_BYTES: Final = 1 << 18
_SAMPLE_BYTES: Final = 1 << 14
_STORED_FROM: Final = 0.85
"""A sample that shrinks to no less than this share is not worth the time. Float weights: 0.92; int8 ones: 0.80."""
_BLOCK_BYTES: Final = (1 << 16) - 1


class GzipWriter:
    """Write into it, within a `with` block, whose end completes the stream. `file` stays open."""

    def __init__(self, file: IO[bytes], level: int) -> None:
        self._file = file
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._pending = bytearray()
        self._is_aligned = True
        self._checksum = 0
        self._size = 0

    def __enter__(self) -> Self:
        self._file.write(_HEADER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._put(bytes(self._pending))
            self._file.write(self._deflate.flush())
            self._file.write(struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF))

    def write(self, data: bytes, /) -> int:
        """Take more content."""
        self._checksum = zlib.crc32(data, self._checksum)
        self._size += len(data)
        self._pending += data
        while len(self._pending) >= _PIECE_BYTES:
            self._put(bytes(self._pending[:_PIECE_BYTES]))
            del self._pending[:_PIECE_BYTES]
        return len(data)

    def _put(self, piece: bytes) -> None:
        if not _hardly_shrinks(piece):
            self._file.write(self._deflate.compress(piece))
            self._is_aligned = False
            return
        if not self._is_aligned:
            # Ends at a byte, and nothing that follows refers to what came before.
            self._file.write(self._deflate.flush(zlib.Z_FULL_FLUSH))
            self._is_aligned = True
        for block in _blocks(piece):
            self._file.write(struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF))
            self._file.write(block)


def _hardly_shrinks(piece: bytes) -> bool:
    if len(piece) < _SAMPLE_BYTES:
        return False
    middle = len(piece) // 2
    sample = piece[middle - _SAMPLE_BYTES // 2 : middle + _SAMPLE_BYTES // 2]
    return len(zlib.compress(sample, 1)) >= _STORED_FROM * len(sample)


def _blocks(piece: bytes) -> Iterator[bytes]:
    for start in range(0, len(piece), _BLOCK_BYTES):
        yield piece[start : start + _BLOCK_BYTES]
