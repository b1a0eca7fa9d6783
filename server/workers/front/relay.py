"""Passes requests on to the home process as they are, and its answers back: whatever a worker does not answer itself.

Streams both ways, in pieces, with backpressure. A client that goes away takes its request with it: the connection to
the home process is dropped, which sees there what it would have seen here.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Final

from starlette.types import Receive, Scope, Send

from server.api.body import ClientGone
from server.api.short_way import Written
from server.domain.clock import Clock
from server.workers.front.home_connection import (
    HomeConnection,
    HomeGone,
    RawHeaders,
    has_body,
    head_of,
    is_chunked,
    own_headers,
)

REUSED_FOR_S: Final = 30.0
"""How long a connection may have been idle to be used again; the home process closes it after 75 s."""
_GONE: Final[Written] = (
    503,
    [(b"content-type", b"application/json"), (b"retry-after", b"1")],
    (b'{"error":"the server is being restarted; ask again in a moment"}',),
)


class BrokenOff(Exception):
    """An answer broke off in its middle. The HTTP server closes the client's connection, which tells it."""


class Relay:
    """Connections to the home process, as many as there are requests on their way. Lives on one event loop."""

    def __init__(self, path: str, clock: Clock) -> None:
        """`path`: of the Unix-domain socket where the home process answers HTTP."""
        self._path = path
        self._now = clock.now
        self._idle: list[HomeConnection] = []

    async def ask(self, target: bytes, headers: RawHeaders, body: bytes) -> Written:
        """Pass on a POST that is whole; returns the whole answer."""
        try:
            connection = await self._connection()
            try:
                head = head_of("POST", target, headers, is_chunked=False)
                connection.begin("POST")
                await connection.send(head + body)
                answer = await connection.answer_head()
                pieces = tuple([piece async for piece in connection.answer_body()])
            finally:
                self._put_back(connection)
        except (HomeGone, OSError):
            return _GONE
        return answer.status, [each for each in own_headers(answer.headers) if each[0] != b"content-length"], pieces

    async def pass_on(self, scope: Scope, receive: Receive, send: Send, read: Iterable[bytes] | None = None) -> int:
        """Pass on any request, and send its answer; returns the status, 0 where the client went away.

        `read`: pieces of the body that were received already, where it is still to come or all of it was.
        """
        sending: asyncio.Task[None] | None = None
        watching: asyncio.Task[None] | None = None
        upload = _Upload(receive, list(read or ()), is_whole=read is not None)
        connection: HomeConnection | None = None
        try:
            connection = await self._connection()
            task = asyncio.current_task()
            assert task is not None
            connection.begin(scope["method"])
            sending = asyncio.create_task(self._send(connection, scope, upload))
            watching = asyncio.create_task(_stop_when_gone(sending, upload, task))
            return await _answer(connection, send)
        except asyncio.CancelledError:
            if upload.is_gone and (current := asyncio.current_task()) is not None and not current.uncancel():
                return 0
            raise
        except (HomeGone, OSError):
            return 0 if upload.is_gone else await _say_gone(send)
        finally:
            for other in (watching, sending):
                if other is not None and not other.done():
                    other.cancel()
                if other is not None:
                    with suppress(asyncio.CancelledError, HomeGone, ClientGone, OSError):
                        await other
            if connection is not None:
                self._put_back(connection)

    def close(self) -> None:
        """Drop all idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connection(self) -> HomeConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable and self._now() - connection.idle_since < REUSED_FOR_S:
                return connection
            connection.close()
        return HomeConnection(*await asyncio.open_unix_connection(self._path))

    def _put_back(self, connection: HomeConnection) -> None:
        if connection.is_reusable:
            connection.idle_since = self._now()
            self._idle.append(connection)
        else:
            connection.close()

    @staticmethod
    async def _send(connection: HomeConnection, scope: Scope, upload: "_Upload") -> None:
        headers: RawHeaders = scope["headers"]
        target = scope["raw_path"]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        chunked = is_chunked(headers)
        head = head_of(scope["method"], target, headers, is_chunked=chunked)
        body = upload.pieces() if has_body(headers) else None
        if body is not None and any(name == b"expect" for name, _ in headers):
            await connection.send_if_allowed(head, body, is_chunked=chunked)
        else:
            await connection.send(head, body, is_chunked=chunked)


class _Upload:
    """A request's body as the client sends it, and whether the client is still there."""

    def __init__(self, receive: Receive, read: list[bytes], *, is_whole: bool) -> None:
        self._receive = receive
        self._read = read
        self._is_whole = is_whole
        self.is_gone = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body. Raises ClientGone."""
        for piece in self._read:
            yield piece
        while not self._is_whole:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.is_gone = True
                raise ClientGone
            self._is_whole = not message.get("more_body", False)
            yield message.get("body", b"")

    async def gone(self) -> None:
        """Returns when the client has left. To be called when all of the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True


async def _stop_when_gone(sending: "asyncio.Task[None]", upload: _Upload, task: "asyncio.Task[object]") -> None:
    """Cancel `task` when the client leaves, before or after its request was sent."""
    with suppress(ClientGone, HomeGone, OSError):
        await asyncio.shield(sending)
        await upload.gone()
    if upload.is_gone:
        task.cancel()


async def _answer(connection: HomeConnection, send: Send) -> int:
    head = await connection.answer_head()
    await send({"type": "http.response.start", "status": head.status, "headers": own_headers(head.headers)})
    try:
        async for piece in connection.answer_body():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except HomeGone as error:
        raise BrokenOff from error
    await send({"type": "http.response.body", "body": b""})
    return head.status


async def _say_gone(send: Send) -> int:
    status, headers, pieces = _GONE
    body = b"".join(pieces)
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
    return status
