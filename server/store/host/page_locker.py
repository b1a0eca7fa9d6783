"""A small process that maps files and locks them into memory, for as long as its standard input is open.

A process of its own, because what is mapped counts as the server's memory otherwise, and as that of steps whose files
are mapped. Standard library only: it starts in 20 ms. Each line of its input is a JSON list, answered by a line:

    ["open", key, path]            -> the file's size in bytes
    ["lock", key, start, length]   -> length; pages that are not in memory are read
    ["close", key]                 -> 0
    anything that fails            -> [errno, what was said]
"""

import ctypes
import json
import mmap
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

_FAILED: Final = ctypes.c_void_p(-1).value


class Locker:
    """The files that are mapped, by key."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        number, size, address = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
        self._libc.mmap.argtypes = (address, size, number, number, number, ctypes.c_long)
        self._libc.mlock.argtypes = self._libc.munmap.argtypes = (address, size)
        self._mapped: dict[str, tuple[int, int]] = {}

    def open(self, key: str, path: str) -> int:
        """Map the file; its size. Raises OSError."""
        self.close(key)
        with open(path, "rb") as source:  # noqa: PTH123 - pathlib takes half of this process's start
            size = os.fstat(source.fileno()).st_size
            if size:
                address = self._libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, source.fileno(), 0)
                self._require(address != _FAILED)
                self._mapped[key] = (address, size)
        return size

    def lock(self, key: str, start: int, length: int) -> int:
        """Lock a part, which reads it. Raises OSError."""
        address, _ = self._mapped[key]
        self._require(not self._libc.mlock(address + start, length))
        return length

    def close(self, key: str) -> int:
        """Unmap the file, which unlocks it; an unknown key is fine."""
        if key in self._mapped:
            address, size = self._mapped.pop(key)
            self._libc.munmap(address, size)
        return 0

    @staticmethod
    def _require(is_done: bool) -> None:
        if not is_done:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def main() -> None:
    """Answer until the server is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the server, which may still serve for a while
        signal.signal(number, signal.SIG_IGN)
    locker = Locker()
    does: dict[str, Callable[..., int]] = {"open": locker.open, "lock": locker.lock, "close": locker.close}
    for line in sys.stdin:
        what, *facts = json.loads(line)
        answer: Any
        try:
            answer = does[what](*facts)
        except OSError as error:
            answer = [error.errno, error.strerror]
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
