"""What a worker prints goes to the server's log: whole lines, cut where they are long, and not without end."""

import logging
import os
from typing import Final

from server.domain.clock import Clock

_log = logging.getLogger(__name__)
LEVEL_MARK: Final = "\x1e"
"""A line `\\x1e40 text` comes from `pb_utils.Logger`, with its level; other lines were printed."""

_LINE_LIMIT: Final = 4096
_LINES_PER_WINDOW: Final = 500
_WINDOW_S: Final = 10.0


class OutputLog:
    """Reads one worker's output until its end; meant for a thread of its own. `source` begins each entry."""

    def __init__(self, descriptor: int, source: str, clock: Clock) -> None:
        self._descriptor = descriptor
        self._source = source
        self._clock = clock
        self._window_start = clock.now()
        self._lines = 0
        self._dropped = 0

    def drain(self) -> None:
        """Log every line, then close the descriptor."""
        pending = b""
        try:
            while data := os.read(self._descriptor, 65536):
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._take(line)
                if len(pending) > _LINE_LIMIT:
                    self._take(pending)
                    pending = b""
            if pending:
                self._take(pending)
            self._tell_dropped()
        finally:
            os.close(self._descriptor)

    def _take(self, line: bytes) -> None:
        now = self._clock.now()
        if now - self._window_start >= _WINDOW_S:
            self._tell_dropped()
            self._window_start, self._lines = now, 0
        if self._lines >= _LINES_PER_WINDOW:
            self._dropped += 1
            return
        self._lines += 1
        level, text = _level_of(line[:_LINE_LIMIT].decode(errors="replace").rstrip())
        _log.log(level, "%s: %s", self._source, text)

    def _tell_dropped(self) -> None:
        if self._dropped:
            _log.warning("%s: %d more lines were dropped", self._source, self._dropped)
            self._dropped = 0


def marked(level: int, message: str) -> str:
    """A message of `pb_utils.Logger` as the lines that carry its level."""
    return "".join(f"{LEVEL_MARK}{level} {line}\n" for line in message.splitlines() or [""])


def _level_of(text: str) -> tuple[int, str]:
    if text.startswith(LEVEL_MARK):
        level, _, message = text[1:].partition(" ")
        if level.isdecimal():
            return int(level), message
    return logging.INFO, text
