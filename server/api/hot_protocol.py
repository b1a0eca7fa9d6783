"""uvicorn's HTTP protocol, with the short way for small inference requests (`short_way.py`).

uvicorn keeps its part: parsing, pipelining, keep-alive, backpressure, the end of the server. What is different is that
a request that is whole goes to the app in this callback: answered at once where nothing has to be waited for, else in
one task. Everything else (large or chunked bodies, streams, all other routes) is uvicorn's usual cycle.

Use it with `proxy_headers=False`: the app has to be the outermost one.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from server.api.door import Route
from server.api.idle_connections import IdleConnections
from server.api.short_way import SMALL_BYTES, Asked, ShortWay, Written
from server.api.surface import JOIN_BYTES, RawHeaders

_log = logging.getLogger("uvicorn.error")
_CUT_OFF: Final[Written] = 500, [(b"content-type", b"text/plain; charset=utf-8")], (b"Internal Server Error",)


class HotProtocol(IdleConnections):
    """For `uvicorn.Config(http=...)`. The app has a short way if its attribute `short_way` is one."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._way: ShortWay | None = getattr(self.app, "short_way", None)
        self._route: Route | None = None
        """Of the request that is being read, if it comes the short way."""
        self._pieces: list[bytes] = []
        self._running: _Cycle | None = None

    # What the parser calls

    def on_headers_complete(self) -> None:
        """The head is complete: which way?"""
        self._route = self._short()
        if self._route is None:
            super().on_headers_complete()
        else:
            self._is_in_head = False
            self._pieces = []

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._route is None:
            super().on_body(body)
        else:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        route, self._route = self._route, None
        if route is None or self._way is None:
            super().on_message_complete()
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        asked = self._way.asked(route, self.headers, self.url, body)
        keep_alive = self.parser.should_keep_alive()
        written = self._way.at_once(asked)
        if written is not None:
            self._write(written, keep_alive=keep_alive)
            return
        cycle = _Cycle(keep_alive)
        self.cycle = cast("RequestResponseCycle", cycle)
        self._running = cycle
        cycle.task = task = self.loop.create_task(self._answer(self._way, asked, cycle))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # What the transport calls

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for the answer any more."""
        super().connection_lost(exc)
        running = self._running
        if running is not None and running.task is not None:
            running.disconnected = True
            running.task.cancel()

    def _short(self) -> Route | None:
        """The route of a request that comes the short way."""
        way = self._way
        if way is None or self.parser.get_method() != b"POST" or self.expect_100_continue:
            return None
        if not (self.cycle is None or self.cycle.response_complete):
            return None  # it waits for its turn, behind others on this connection
        if self.flow.write_paused or self.transport.is_closing() or self.parser.should_upgrade():
            return None
        if not _is_small(self.headers) or self.parser.get_http_version() != "1.1":
            return None
        return way.route(self.url)

    async def _answer(self, way: ShortWay, asked: Asked, cycle: "_Cycle") -> None:
        try:
            written = await way.answer(asked)
            if self.flow.write_paused:
                await self.flow.drain()
        except asyncio.CancelledError as error:
            if cycle.disconnected:
                raise
            _log.error("Exception in ASGI application\n", exc_info=error)  # uvicorn's words: it cuts off what runs on
            written, cycle.keep_alive = _CUT_OFF, False
        finally:
            self._running = None
        cycle.response_complete = True
        if not cycle.disconnected:
            self._write(written, keep_alive=cycle.keep_alive)

    def _write(self, written: Written, *, keep_alive: bool) -> None:
        status, own, pieces = written
        parts = [piece if isinstance(piece, bytes) else memoryview(piece).cast("B") for piece in pieces]
        length = sum(map(len, parts))
        head = _head(status, (*self.server_state.default_headers, *own), length, keep_alive=keep_alive)
        if length <= JOIN_BYTES:
            self.transport.write(b"".join((head, *parts)))
        else:
            self.transport.write(head)
            for part in parts:
                self.transport.write(part)
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()


class _Cycle:
    """Stands where uvicorn's protocol has the request that is being answered."""

    message_event: Final = asyncio.Event()
    """uvicorn wakes its own cycle with it; nobody waits here."""

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.task: asyncio.Task[None] | None = None


def _is_small(headers: RawHeaders) -> bool:
    """Whether a body is announced that is no larger than the short way takes."""
    for name, value in headers:
        if name == b"content-length":
            return len(value) <= _DIGITS and int(value) <= SMALL_BYTES
    return False


_DIGITS: Final = len(str(SMALL_BYTES))


def _head(status: int, headers: Sequence[tuple[bytes, bytes]], length: int, *, keep_alive: bool) -> bytes:
    """Status line and headers. Raises ValueError where a header would break out of its line."""
    lines = [b"%b: %b\r\n" % header for header in headers]
    lines.append(b"content-length: %d\r\n\r\n" % length if keep_alive else b"connection: close\r\n")
    if not keep_alive:
        lines.append(b"content-length: %d\r\n\r\n" % length)
    head = b"".join((STATUS_LINE[status], *lines))
    if head.count(b"\n") != len(lines) + 2 or head.count(b"\r") != len(lines) + 2:
        raise ValueError("a header of an answer has a line break in it. This is a bug.")
    return head
