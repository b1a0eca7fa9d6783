"""One keep-alive HTTP/1.1 connection to Triton.

Written by hand because a general client costs more than Triton's own answer takes. It knows what Triton sends:
a status, two headers that matter, and a body. Errors here are the caller's to translate (`errors.ServerGone`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import httptools

from server.engines.triton.wire.binary_tensors import Piece
from server.engines.triton.wire.errors import ServerGone

JOIN_BELOW: Final = 64 * 1024
"""Requests up to this size are sent with one system call; joining larger ones costs more than it saves."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back. `head_bytes` is the length of the JSON head where binary tensors follow it."""

    status: int
    head_bytes: int | None
    body: bytes


class Connection(asyncio.Protocol):
    """One request at a time. A connection whose request was abandoned must be closed, not used again."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._body: list[bytes] = []
        self._head_bytes: int | None = None
        self.is_open = False

    async def exchange(self, head: bytes, pieces: Sequence[Piece]) -> HttpAnswer:
        """Send one request and wait for its answer. Raises ServerGone if the connection breaks."""
        if not self.is_open or self._transport is None:
            raise ServerGone
        self._answer = asyncio.get_running_loop().create_future()
        if sum(map(len, pieces)) <= JOIN_BELOW:
            self._transport.write(b"".join((head, *pieces)))
        else:
            self._transport.write(head)
            for piece in pieces:
                self._transport.write(piece)
        return await self._answer

    def close(self) -> None:
        """Drop the connection at once."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what is not HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            failure = ServerGone()
            failure.__cause__ = exc
            self._answer.set_exception(failure)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the length of the JSON head."""
        if name.lower() == b"inference-header-content-length":
            self._head_bytes = int(value)

    def on_body(self, data: bytes) -> None:
        """Collect the body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Hand the answer over, and be ready for the next one."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        answer = HttpAnswer(self._parser.get_status_code(), self._head_bytes, body)
        self._body, self._head_bytes = [], None
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)
