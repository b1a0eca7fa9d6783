"""Inference over HTTP as a raw ASGI app: no middleware, no dependency injection, no thread hop.

It takes the POSTs that carry inference requests (`door.match`) and hands everything else to FastAPI. A request's life
is the body of `_infer`: read, inflate, name, dispatch, present.
"""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api import encodings, request_context
from server.api.body import ClientGone, read_body
from server.api.disconnect import ClientWatch
from server.api.door import Call, Door, match
from server.api.errors import Refusal, as_known, plain_refusal, refusal
from server.api.parts import Parts
from server.api.server_timing import server_timing
from server.api.streamed import send_stream
from server.api.surface import LOAD_MS, WARMTH, RawHeaders, Surface, respond
from server.domain.errors import Bug
from server.domain.payload import Body


class HotPath:
    """The outermost ASGI app."""

    def __init__(self, parts: Parts, doors: Mapping[Surface, Door], rest: ASGIApp) -> None:
        self._parts = parts
        self._doors = doors
        self._rest = rest

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

    async def _infer(self, call: Call, receive: Receive, send: Send, path: str) -> tuple[int, RawHeaders, Body] | None:
        """The answer, still to be sent; None where it was a stream and is sent."""
        options = self._parts.options
        door = self._doors[call.route.surface]
        sent = await read_body(receive, call.headers, options.max_body_bytes)
        body = await encodings.inflated(sent, call.headers, options.max_body_bytes)
        name = door.archive(self._parts.addresses, call)
        payload = door.payload(call, body)
        if payload.is_stream:
            await send_stream(self._parts.dispatcher.stream(name, payload), door, call, receive, send, path)
            return None
        with ClientWatch(receive):
            served = await self._parts.dispatcher.invoke(name, payload)
        own, answer = door.present(call, served.answer, served.parameters)
        own += (
            (b"content-type", answer.content_type.encode("latin-1")),
            (WARMTH, served.warmth.encode()),
            (LOAD_MS, b"%.3f" % (served.load_s * 1000)),
        )
        if served.cold_start is not None:
            own.append(server_timing(served.cold_start, served.waited_s, served.infer_s))
        own.extend((name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items())
        pieces = await encodings.deflated(answer.body, own, call.headers)
        request_context.note_answer(path, 200, name, served.warmth, served.total_s)
        return 200, own, pieces


def _written(refused: Refusal) -> tuple[int, RawHeaders, Body]:
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
