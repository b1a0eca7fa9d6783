"""Inference over HTTP: no middleware, no dependency injection, no thread hop.

It takes the POSTs that carry inference requests (`door.match`) and hands everything else to FastAPI. A request's life
is the body of `_infer`: read, inflate, name, dispatch, present. Small requests come the short way (`short_way.py`),
where it is the body of `answer`, or of `at_once` where nothing has to be waited for.
"""

from collections.abc import Mapping
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api import encodings, request_context
from server.api.body import ClientGone, read_body
from server.api.disconnect import ClientWatch
from server.api.door import Call, Door, Route, match
from server.api.errors import Refusal, as_known, plain_refusal, refusal
from server.api.parts import InferenceParts
from server.api.server_timing import server_timing
from server.api.short_way import Asked, Written
from server.api.streamed import send_stream
from server.api.surface import LOAD_MS, WARMTH, RawHeaders, Surface, respond
from server.domain.errors import Bug, PayloadTooLarge
from server.domain.payload import Answer
from server.serving.dispatcher import Served


class HotPath:
    """The outermost ASGI app, and a `ShortWay`."""

    def __init__(self, parts: InferenceParts, doors: Mapping[Surface, Door], rest: ASGIApp) -> None:
        self._parts = parts
        self._dispatcher = parts.dispatcher
        self._doors = doors
        self._rest = rest
        self._max_body_bytes = parts.options.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer inference requests, pass on the rest."""
        route = match(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._rest(scope, receive, send)
            return
        call = Call(route, dict(scope["headers"]))
        request_id = request_context.enter(call.headers)
        try:
            if scope["method"] == "POST":
                written = await self._infer(call, receive, send, scope["path"])
                if written is None:
                    return
                status, own, body = written
            else:
                status, own, body = _written(_wrong_method(route.surface))
        except ClientGone:
            return
        except Exception as error:
            status, own, body = _written(_refused(route.surface, error, scope["path"]))
        own.extend(request_context.headers_of(route.surface, request_id))
        await respond(send, status, own, body)

    async def _infer(self, call: Call, receive: Receive, send: Send, path: str) -> Written | None:
        """The answer, still to be sent; None where it was a stream and is sent."""
        door = self._doors[call.route.surface]
        sent = await read_body(receive, call.headers, self._max_body_bytes)
        body = await encodings.inflated(sent, call.headers, self._max_body_bytes)
        name = door.archive(self._parts.addresses, call)
        payload = door.payload(call, body)
        if payload.is_stream:
            await send_stream(self._dispatcher.stream(name, payload), door, call, receive, send, path)
            return None
        with ClientWatch(receive):
            served = await self._dispatcher.invoke(name, payload)
        own, answer = _presented(door, call, name, served, path)
        return 200, own, await encodings.deflated(answer.body, own, call.headers)

    @property
    def short_way(self) -> "HotPath":
        """For the HTTP protocol (`hot_protocol.py`)."""
        return self

    def route(self, target: bytes) -> Route | None:
        """See `ShortWay`. Streams come by ASGI."""
        route = _matched(target)
        return route if route is not None and not self._doors[route.surface].is_stream(route) else None

    def asked(self, route: Route, headers: list[tuple[bytes, bytes]], target: bytes, body: bytes) -> Asked:
        """See `ShortWay`."""
        call = Call(route, dict(headers))
        return Asked(call, target.decode("ascii"), body, request_context.enter(call.headers))

    def at_once(self, asked: Asked) -> Written | None:
        """See `ShortWay`. What came compressed is left to `answer`."""
        call = asked.call
        if b"content-encoding" in call.headers:
            return None
        surface = call.route.surface
        try:
            self._check_size(asked)
            door = self._doors[surface]
            name = door.archive(self._parts.addresses, call)
            served = self._dispatcher.at_once(name, door.payload(call, asked.body))
            if served is None:
                return None
            own, answer = _presented(door, call, name, served, asked.path)
            pieces = encodings.deflated_now(answer.body, own, call.headers)
        except Exception as error:
            return self._failed(asked, error)
        own.extend(request_context.headers_of(surface, asked.request_id))
        return 200, own, pieces

    async def answer(self, asked: Asked) -> Written:
        """See `ShortWay`."""
        call = asked.call
        try:
            self._check_size(asked)
            door = self._doors[call.route.surface]
            body = await encodings.inflated(asked.body, call.headers, self._max_body_bytes)
            name = door.archive(self._parts.addresses, call)
            served = await self._dispatcher.invoke(name, door.payload(call, body))
            own, answer = _presented(door, call, name, served, asked.path)
            pieces = await encodings.deflated(answer.body, own, call.headers)
        except Exception as error:
            return self._failed(asked, error)
        own.extend(request_context.headers_of(call.route.surface, asked.request_id))
        return 200, own, pieces

    def _check_size(self, asked: Asked) -> None:
        if len(asked.body) > self._max_body_bytes:
            raise PayloadTooLarge(self._max_body_bytes)

    def _failed(self, asked: Asked, error: Exception) -> Written:
        surface = asked.call.route.surface
        status, own, body = _written(_refused(surface, error, asked.path))
        own.extend(request_context.headers_of(surface, asked.request_id))
        return status, own, body


@lru_cache(maxsize=4096)
def _matched(target: bytes) -> Route | None:
    """The route of a plain target: the path as it is, without a query, escapes or a host."""
    if not target.startswith(b"/") or not target.isascii() or any(mark in target for mark in (b"?", b"%", b"#")):
        return None
    return match(target.decode("ascii"))


def _presented(door: Door, call: Call, name: str, served: Served, path: str) -> tuple[RawHeaders, Answer]:
    """An answer's headers, but for the request's id and what compressing adds; and the answer."""
    own, answer = door.present(call, served.answer, served.parameters)
    own += (
        (b"content-type", answer.content_type.encode("latin-1")),
        (WARMTH, served.warmth.encode()),
        (LOAD_MS, b"%.3f" % (served.load_s * 1000)),
    )
    if served.cold_start is not None:
        own.append(server_timing(served.cold_start, served.waited_s, served.infer_s))
    if answer.headers:
        own.extend((name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items())
    request_context.note_answer(path, 200, name, served.warmth, served.total_s)
    return own, answer


def _written(refused: Refusal) -> Written:
    return refused.status, refused.headers, (refused.body,)


def _wrong_method(surface: Surface) -> Refusal:
    refused = plain_refusal(surface, 405, "Method Not Allowed")
    refused.headers.append((b"allow", b"POST"))
    return refused


def _refused(surface: Surface, error: Exception, path: str) -> Refusal:
    known = as_known(error)
    refused = refusal(surface, known)
    request_context.note_error(path, refused.status, error, isinstance(known, Bug))
    return refused
