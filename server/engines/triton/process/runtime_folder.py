"""The engine's own folder on disk: locked while its process lives, swept by the next start if that one was killed."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "triton-"
_LOCK: Final = "lock"
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where the Python backend's segments are


class RuntimeFolder:
    """A fresh folder below `base`, removed by `close`."""

    def __init__(self, base: Path) -> None:
        """Make the folder, after removing those that no living process holds. Raises OSError."""
        base.mkdir(parents=True, exist_ok=True)
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base)).resolve()
        self._lock = _try_lock(self.path)

    @property
    def shm_prefix(self) -> str:
        """How the names of all shared memory of this folder's tritonservers begin."""
        return _shm_prefix(self.path)

    def close(self) -> None:
        """Remove the folder. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _sweep(base: Path) -> None:
    for folder in base.glob(f"{_PREFIX}*"):
        if not (folder / _LOCK).is_file():  # somebody is making it right now
            continue
        lock = _try_lock(folder)
        if lock is not None:
            remove_segments(_shm_prefix(folder))
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def remove_segments(prefix: str) -> None:
    """Remove the shared memory whose names begin so; its owners must be dead."""
    for segment in _SHARED_MEMORY.glob(f"{prefix}*"):
        segment.unlink(missing_ok=True)


def _shm_prefix(folder: Path) -> str:
    return f"roundhouse_{folder.name}_"


def _try_lock(folder: Path) -> int | None:
    """Take the folder's lock, which goes with this process; `None` if another process holds it."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
