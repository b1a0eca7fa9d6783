"""The last lines a process wrote: bounded in lines and in the length of each."""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

LONGEST_LINE: Final = 2000
_log = logging.getLogger("roundhouse.triton")


class ByteReader(Protocol):
    """The part of `asyncio.StreamReader` that is needed."""

    async def read(self, n: int = -1) -> bytes:
        """Some bytes, or none at the end."""
        ...


class LogTail:
    """Reads a pipe to its end so that its writer never blocks, and keeps the last `limit` lines."""

    def __init__(self, limit: int) -> None:
        self._lines: deque[str] = deque(maxlen=limit)

    @property
    def lines(self) -> Sequence[str]:
        """What is kept, oldest first."""
        return tuple(self._lines)

    def last(self, count: int) -> str:
        """The last `count` lines as one text."""
        return "\n".join(list(self._lines)[-count:])

    async def follow(self, reader: ByteReader) -> None:
        """Read until the pipe is closed. A line without an end is cut at `LONGEST_LINE`."""
        rest = b""
        while chunk := await reader.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._keep(line)
            rest = rest[:LONGEST_LINE]
        if rest:
            self._keep(rest)

    def _keep(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip()
        if text:
            self._lines.append(text)
            _log.debug("%s", text)
