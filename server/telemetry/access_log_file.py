"""The access log's file: lines wait in a bounded queue and are written by one thread, several times a second.

Whoever puts a line never waits: a full queue or a full disk costs lines, which are counted. A file is whole lines at
any time, and each file says what its archives are made of, so that every one can be replayed by itself:

- it is begun anew when somebody renames or removes it, as logrotate does (no signal is needed);
- from `max_bytes` on it becomes `<name>.1`, in the place of the one before.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from server.domain.part import Part
from server.telemetry.metrics import Level

_log = logging.getLogger(__name__)
MOST_WAITING: Final = 100_000
"""Lines that may wait: ten seconds of what one process can answer, some 20 MB."""
PAUSE_S: Final = 0.1
"""Between two writes. Short, so that no write holds the interpreter for long."""
_MOST_TOLD: Final = 100_000


class Line(NamedTuple):
    """One request: when it arrived (seconds since the epoch), for what, and what that is made of."""

    time: float
    archive: str
    parts: tuple[Part, ...]


class AccessLogFile:
    """Appends to `path`. `put` may be called from one thread at a time."""

    def __init__(self, path: Path, max_bytes: int, most_waiting: int = MOST_WAITING) -> None:
        """Open the file. Raises OSError, with the path in its text."""
        self._path = path
        self._max_bytes = max_bytes
        self._most_waiting = most_waiting
        self._waiting: deque[Line] = deque()
        self._told: dict[str, tuple[tuple[Part, ...], bytes]] = {}
        """By archive: the parts that this file has told of it, and its line after the time."""
        self._file: int | None = _open(path)
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._written = 0
        self._refused = 0
        self._lost = 0

    @property
    def dropped(self) -> int:
        """Lines that could not wait, or not be written, since the start."""
        return self._refused + self._lost

    @property
    def written(self) -> int:
        """Lines written since the start."""
        return self._written

    def put(self, line: Line) -> None:
        """Have a line written soon, or drop it. Never blocks."""
        if len(self._waiting) >= self._most_waiting:
            self._refused += 1
        else:
            self._waiting.append(line)

    def begin(self) -> None:
        """Start to write."""
        self._thread = threading.Thread(target=self._write_on, name="access log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and end. Blocks; idempotent."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def levels(self) -> Iterator[Level]:
        """What `Metrics.watch` takes."""
        yield Level("roundhouse_access_log_lines", "Requests written to the access log, since the start", self._written)
        yield Level(
            "roundhouse_access_log_dropped",
            "Requests that the access log could not keep, since the start",
            self.dropped,
        )

    def flush(self) -> None:
        """Write what waits. For the thread, or without one."""
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not lines:
            return
        try:
            self._keep_place()
            self._append(b"".join(map(self._worded, lines)))
            self._written += len(lines)
        except Exception as error:  # whatever it is: the thread has to live, and to say what it could not do
            if not self._lost:  # once: the metric has the rest, and a full disk should not get a full log as well
                _log.warning("the access log cannot be written, and loses lines: %s", error)
            self._lost += len(lines)
            self._told.clear()  # what these lines told is lost too

    def _write_on(self) -> None:
        while not self._is_over.wait(PAUSE_S):
            self.flush()
        self.flush()

    def _keep_place(self) -> None:
        """Begin a new file where this one was moved, or is long enough. Raises OSError."""
        if self._file is not None:
            held = os.fstat(self._file)
            if _is_at(self._path, held) and held.st_size < self._max_bytes:
                return
            if _is_at(self._path, held):
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            os.close(self._file)
            self._file = None
        self._told.clear()
        self._file = _open(self._path)

    def _append(self, text: bytes) -> None:
        """All of it or nothing. Raises OSError."""
        assert self._file is not None
        before = os.fstat(self._file).st_size
        view = memoryview(text)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, before)
            raise

    def _worded(self, line: Line) -> bytes:
        told = self._told.get(line.archive)
        if told is not None and (told[0] is line.parts or told[0] == line.parts):
            return b'{"time":%.6f,%b}\n' % (line.time, told[1])
        fields: dict[str, Any] = {
            "archive": line.archive.encode("utf-8", "replace").decode(),  # a refused name may be anything
            "bytes": sum(part.bytes for part in line.parts),
            "load_s": round(sum(part.load_s for part in line.parts), 6),
            "group": line.archive.partition("/")[0] if "/" in line.archive else "",
        }
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[line.archive] = line.parts, orjson.dumps(fields)[1:-1]
        if line.parts:
            fields["parts"] = [
                {"digest": part.digest, "bytes": part.bytes, "load_s": round(part.load_s, 6)} for part in line.parts
            ]
        return b'{"time":%.6f,%b}\n' % (line.time, orjson.dumps(fields)[1:-1])


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _is_at(path: Path, held: os.stat_result) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)
