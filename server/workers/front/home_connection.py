"""One keep-alive HTTP/1.1 connection to the home process, over its Unix-domain socket.

A request's head and body go as they came, and the answer comes as it is, piece by piece; only what belongs to a single
connection (`HOP_BY_HOP`) is each connection's own.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import httptools

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"te", b"trailer", b"upgrade"}
)
OWN_OF_ANSWERS: Final = HOP_BY_HOP | {b"date"}
"""What the worker's HTTP server writes by itself."""
CONTINUE: Final = 100
_READ_BYTES: Final = 1 << 16


class HomeGone(Exception):
    """The connection broke: the home process is gone, or ended this request."""


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """How an answer begins."""

    status: int
    headers: list[tuple[bytes, bytes]]


def head_of(method: str, target: bytes, headers: RawHeaders, *, is_chunked: bool) -> bytes:
    """A request's head. `is_chunked`: its body's length is not said in the headers."""
    lines = [b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), target)]
    lines += [b"%b: %b\r\n" % each for each in headers if each[0] not in HOP_BY_HOP]
    if is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def is_chunked(headers: RawHeaders) -> bool:
    """Whether a request with these headers has a body that comes in chunks."""
    return any(name == b"transfer-encoding" and b"chunked" in value.lower() for name, value in headers)


def has_body(headers: RawHeaders) -> bool:
    """Whether a request with these headers has a body at all."""
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in headers)


class HomeConnection:
    """One request at a time. It can be used again if `is_reusable` says so after an answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = _Answer(is_without_body=False)
        self._is_sent = True
        self.idle_since = 0.0

    @property
    def is_reusable(self) -> bool:
        """Whether the last request and its answer are complete, and the connection stays open."""
        is_open = not (self._reader.at_eof() or self._writer.is_closing())
        return self._is_sent and self._answer.is_complete and self._answer.keeps_alive and is_open

    def begin(self, method: str) -> None:
        """A request comes next; from now on the answer is its answer."""
        self._answer = _Answer(is_without_body=method == "HEAD")
        self._is_sent = False

    async def send(self, head: bytes, body: AsyncIterator[bytes] | None = None, *, is_chunked: bool = False) -> None:
        """Send the request. Raises HomeGone; what `body` raises."""
        await self._send(head, body, is_chunked=is_chunked)
        self._is_sent = True

    async def send_if_allowed(self, head: bytes, body: AsyncIterator[bytes], *, is_chunked: bool) -> None:
        """Send a request whose client wants to know whether to send the body at all (`Expect: 100-continue`).

        It is sent, and by that asked for, when the home process says so. Raises as `send`.
        """
        answer = self._answer
        self._writer.write(head)
        await answer.has_begun.wait()
        if answer.head is None:
            await self._send(b"", body, is_chunked=is_chunked)
            self._is_sent = True

    async def _send(self, head: bytes, body: AsyncIterator[bytes] | None, *, is_chunked: bool) -> None:
        if head:
            self._writer.write(head)
        if body is not None:
            async for piece in body:
                await self._write(piece, is_chunked=is_chunked)
        if is_chunked:
            self._writer.write(b"0\r\n\r\n")

    async def answer_head(self) -> AnswerHead:
        """How the answer begins. Raises HomeGone."""
        while self._answer.head is None:
            await self._read()
        return self._answer.head

    async def answer_body(self) -> AsyncIterator[bytes]:
        """The answer's body as it comes. Raises HomeGone where it breaks off."""
        while True:
            while self._answer.pieces:
                yield self._answer.pieces.popleft()
            if self._answer.is_complete:
                return
            await self._read()

    def close(self) -> None:
        """Drop the connection: the home process sees that nobody waits for an answer."""
        self._writer.transport.abort()

    async def _write(self, piece: bytes, *, is_chunked: bool) -> None:
        if not piece:
            return
        self._writer.writelines((b"%x\r\n" % len(piece), piece, b"\r\n") if is_chunked else (piece,))
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise HomeGone from error

    async def _read(self) -> None:
        try:
            data = await self._reader.read(_READ_BYTES)
            if not data:
                raise HomeGone
            self._answer.feed(data)
        except (ConnectionError, httptools.HttpParserError) as error:
            raise HomeGone from error


class _Answer:
    """An answer as far as it has come, and what its parser calls."""

    def __init__(self, *, is_without_body: bool) -> None:
        """`is_without_body`: whatever its headers say, since it answers a HEAD. The connection ends with it."""
        self._is_without_body = is_without_body
        self._headers: list[tuple[bytes, bytes]] = []
        self._parser = httptools.HttpResponseParser(self)
        self.head: AnswerHead | None = None
        self.pieces: deque[bytes] = deque()
        self.has_begun = asyncio.Event()
        """Set when anything has come: the answer's head, or the permission to go on."""
        self.is_complete = False
        self.keeps_alive = False

    def feed(self, data: bytes) -> None:
        """More of it. Raises httptools.HttpParserError."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """All headers, of the answer or of a permission to go on."""
        headers, self._headers = self._headers, []
        self.has_begun.set()
        if self._parser.get_status_code() != CONTINUE:
            self.head = AnswerHead(self._parser.get_status_code(), headers)
            self.is_complete = self._is_without_body

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole, if this was its head."""
        if self.head is None:
            return
        self.is_complete = True
        self.keeps_alive = not self._is_without_body and bool(self._parser.should_keep_alive())


def own_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers without those that each connection has of its own."""
    return [each for each in headers if each[0] not in OWN_OF_ANSWERS]
