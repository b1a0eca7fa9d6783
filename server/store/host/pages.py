"""How a file is brought into host memory, and let go again. Blocking; for one thread.

`WarmPages` reads it, so that it lies in the page cache: a hint, since the kernel takes the memory back whenever it
needs it for something else. `LockedPages` has it locked, so that it stays.
"""

import errno
import json
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from server.store.disk.ledger import FileId
from server.store.host import page_locker

_log = logging.getLogger(__name__)
_READ_BYTES: Final = 1024**2
_CHUNK_BYTES: Final = 64 * 1024**2
"""After so many bytes the caller may think better of it."""
_CAN_LOCK: Final = 1 << 14
"""CAP_IPC_LOCK (capabilities(7)): whoever has it may lock as much as there is."""


class Pages(Protocol):
    """Files in memory, by device and inode."""

    is_locked: bool
    """Whether what was brought stays whatever happens."""

    def bring(self, file: FileId, path: Path) -> Generator[None, None, None]:
        """Bring the file into memory, a chunk per turn. Raises OSError."""
        ...

    def let_go(self, file: FileId, path: Path, *, is_cold: bool) -> None:
        """Hold it no longer; `is_cold`: nobody is expected to read it soon. A file that vanished is no error."""
        ...

    def close(self) -> None:
        """Hold nothing any more. Idempotent."""
        ...


class WarmPages:
    """Reads files; the page cache keeps what was read as long as it has room."""

    is_locked = False

    def bring(self, file: FileId, path: Path) -> Generator[None, None, None]:  # noqa: ARG002 - the page cache knows it itself
        """Read the file. What is in the page cache already costs a copy (10 GB/s) and counts as used anew."""
        with path.open("rb", buffering=0) as source:
            buffer = bytearray(_READ_BYTES)
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            done = 0
            while count := source.readinto(buffer):
                done += count
                if done >= _CHUNK_BYTES:
                    done = 0
                    yield

    def let_go(self, file: FileId, path: Path, *, is_cold: bool) -> None:  # noqa: ARG002
        """Let the page cache drop it, unless it is about to be used; pages that an engine has mapped stay."""
        if is_cold:
            _drop_from_cache(path)

    def close(self) -> None:
        """Nothing."""


class LockedPages:
    """Has files mapped and locked by a process of its own (`page_locker.py`), which starts with the first file.

    If that process is killed, what it held is a hint like any other, and the next file starts another one.
    """

    is_locked = True

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """The process that holds the locks."""
        return self._process.pid if self._process is not None else None

    def bring(self, file: FileId, path: Path) -> Generator[None, None, None]:
        """Map the file and lock it, which reads it."""
        size = self._ask("open", _key(file), str(path))
        for start in range(0, size, _CHUNK_BYTES):
            self._ask("lock", _key(file), start, min(_CHUNK_BYTES, size - start))
            yield

    def let_go(self, file: FileId, path: Path, *, is_cold: bool) -> None:
        """Unmap it, which unlocks it."""
        if self._process is not None:
            with suppress(OSError):
                self._ask("close", _key(file))
        if is_cold:
            _drop_from_cache(path)

    def close(self) -> None:
        """End the process, and every lock with it."""
        process, self._process = self._process, None
        if process is not None:
            with process, suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()  # it leaves by itself

    def _ask(self, *request: object) -> int:
        """Raises OSError."""
        process = self._process = self._process or _start_locker()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{json.dumps(request)}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            self.close()
            raise OSError(errno.EPIPE, "the process that locks files into memory is gone")
        answer = json.loads(line)
        if isinstance(answer, list):
            raise OSError(answer[0], f"a file cannot be locked into memory: {answer[1]}")
        return int(answer)


def may_lock(budget_bytes: int) -> bool:
    """Whether this process may lock so many bytes: RLIMIT_MEMLOCK allows it, or it has CAP_IPC_LOCK."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return limit == resource.RLIM_INFINITY or limit >= budget_bytes or bool(_capabilities() & _CAN_LOCK)


def _start_locker() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", page_locker.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C is meant for the server
    )


def _key(file: FileId) -> str:
    return f"{file[0]}:{file[1]}"


def _capabilities() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)


def _drop_from_cache(path: Path) -> None:
    try:
        with path.open("rb") as source:
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:  # it left the disk meanwhile, and its pages with it
        _log.debug("%s could not be dropped from the page cache: %s", path, error)
