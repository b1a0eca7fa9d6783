"""One server per cache folder: two would clean up each other's unfinished work."""

import fcntl
import os
from pathlib import Path

from server.domain.errors import StoreUnavailable


class FolderLock:
    """An advisory lock on a file; the system drops it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises StoreUnavailable where another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StoreUnavailable("another server uses this cache folder; give each server its own") from error
        self._descriptor = descriptor

    @property
    def is_held(self) -> bool:
        """Whether this process has the folder."""
        return self._descriptor is not None

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
