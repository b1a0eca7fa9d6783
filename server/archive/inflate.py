"""Inflates gzip in large steps, never by more than is asked for at once.

The standard library's `GzipFile` feeds zlib 8 KiB at a time through four layers of Python. Here one call inflates
64 KiB, and checks its sum on the way. ISA-L is used where it is installed: it takes a third of zlib's time.
"""

import importlib
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from server.archive.tar_stream import Readable


def _fastest() -> ModuleType:
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:  # it is optional
        return zlib


_engine: Final = _fastest()

_PACKED_BYTES: Final = 1 << 16
_INFLATED_BYTES: Final = 1 << 18
_GZIP_WBITS: Final = 31
_PADDING: Final = b"\0"
_start: Final[Callable[..., Any]] = _engine.decompressobj

DAMAGED: Final[tuple[type[Exception], ...]] = (EOFError, zlib.error, _engine.error)
"""What `Inflated.read` raises for a stream that is damaged or cut off."""


class Inflated:
    """The content of a gzip stream: one member, or several in a row; zeros after a member are padding."""

    def __init__(self, packed: Readable) -> None:
        self._packed = packed
        self._inflate = _start(wbits=_GZIP_WBITS)
        self._input = b""
        self._is_inside = True
        self._ready = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, and at least one, but for the end. Raises `DAMAGED`."""
        if not self._ready:
            self._ready = memoryview(self._next())
        piece, self._ready = self._ready[:size], self._ready[size:]
        return bytes(piece)

    def _next(self) -> bytes:
        while self._is_inside or self._begin():
            self._input = self._input or self._packed.read(_PACKED_BYTES)
            piece: bytes = self._inflate.decompress(self._input, _INFLATED_BYTES)
            if self._inflate.eof:
                self._input = self._inflate.unused_data
                self._is_inside = False
            elif not piece and not self._input:
                raise EOFError("it ends before its end-of-stream marker")
            else:
                self._input = self._inflate.unconsumed_tail
            if piece:
                return piece
        return b""

    def _begin(self) -> bool:
        """Look for another member; False at the end of the stream."""
        while not (rest := self._input.lstrip(_PADDING)):
            self._input = self._packed.read(_PACKED_BYTES)
            if not self._input:
                return False
        self._input = rest
        self._inflate = _start(wbits=_GZIP_WBITS)
        self._is_inside = True
        return True
