"""Words on a stream socket between two processes of one machine: each behind its length."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Final, Self

from server.workers.words import Word, read, written

_LENGTH_BYTES: Final = 4
_MOST_BYTES: Final = 1 << 28


class Channel:
    """One end. `async for word in channel` ends when the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, opened: socket.socket) -> Self:
        """Speak on a connected stream socket, which belongs to the channel from now on."""
        return cls(*await asyncio.open_unix_connection(sock=opened, limit=_MOST_BYTES))

    def say(self, word: Word) -> None:
        """Send a word, in order. Never waits; to an end that is gone it says nothing."""
        if self._writer.is_closing():
            return
        text = written(word)
        self._writer.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)

    async def __aiter__(self) -> AsyncIterator[Word]:
        """The words of the other end, until it is gone. Raises Bug for what is no word."""
        while True:
            try:
                length = await self._reader.readexactly(_LENGTH_BYTES)
                text = await self._reader.readexactly(int.from_bytes(length, "little"))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            yield read(text)

    def close(self) -> None:
        """Say nothing more; the other end notices. Idempotent."""
        self._writer.close()
