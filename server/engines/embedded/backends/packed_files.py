"""A folder of graphs whose weights were packed on this host, and the bytes it may take. Blocking.

One entry is a folder named by its key, with the graph and the file of its weights; it appears as a whole or not at all,
and is never written again: sessions map it. What was not used for longest leaves first. An entry that is removed while
a session maps it stays in memory and on disk until that session is gone.
"""

import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

GRAPH: Final = "model.onnx"
WEIGHTS: Final = "weights.bin"
_UNFINISHED: Final = ".unfinished"
_FREE_FACTOR: Final = 4
"""So many times an entry's size must be free on the disk: the archives need it more."""

_log = logging.getLogger(__name__)


class PackedFiles:
    """The folder. Threads may use it at the same time; one process at a time."""

    def __init__(self, root: Path, quota_bytes: int) -> None:
        """Touches nothing before the first `make`."""
        self._root: Final = root
        self.quota_bytes: Final = quota_bytes
        self._lock = threading.Lock()

    def find(self, key: str) -> Path | None:
        """The graph of an entry, which counts as used now; None where there is none."""
        folder = self._root / key
        try:
            os.utime(folder)
        except OSError:
            return None
        return folder / GRAPH

    def make(self, key: str, expected_bytes: int, write: Callable[[Path], None]) -> Path | None:
        """Have `write` write a graph to the path it is given, with its weights beside it as `WEIGHTS`; keep both.

        None where there is no room: within the quota, or on a disk that the archives need.

        Raises:
            OSError: the disk says no.
            Whatever `write` raises. Nothing stays behind.
        """
        with self._lock:
            if found := self.find(key):
                return found
            self._root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._root).free
            if expected_bytes > self.quota_bytes or expected_bytes * _FREE_FACTOR > free:
                _log.info("no room for %d bytes of packed weights (%d are free)", expected_bytes, free)
                return None
            unfinished = self._root / _UNFINISHED
            shutil.rmtree(unfinished, ignore_errors=True)  # of a server that was killed
            try:
                unfinished.mkdir()
                write(unfinished / GRAPH)
                for path in unfinished.iterdir():
                    _to_disk(path)
                self._make_room(_size(unfinished))
                unfinished.rename(self._root / key)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            return self._root / key / GRAPH

    def discard(self, key: str) -> None:
        """Forget an entry that turned out to be of no use."""
        shutil.rmtree(self._root / key, ignore_errors=True)

    def _make_room(self, size: int) -> None:
        entries = sorted((path.stat().st_mtime, path, _size(path)) for path in self._entries())
        taken = sum(each for _, _, each in entries)
        for _, path, each in entries:
            if taken + size <= self.quota_bytes:
                return
            shutil.rmtree(path, ignore_errors=True)
            taken -= each

    def _entries(self) -> list[Path]:
        return [path for path in self._root.iterdir() if path.name != _UNFINISHED]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _to_disk(path: Path) -> None:
    """After a loss of power a file that was renamed may be full of zeros, unless it was on the disk before."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
