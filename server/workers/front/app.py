"""A worker's ASGI app: answers by itself what it holds a lease for, and passes on everything else.

What is answered here: a POST to an inference route, whole, neither streamed nor of the generate extension nor in a
session, whose address (`words.Address`) asks for an archive that this worker holds a good lease on. It is answered by
the very hot path of the single process (`api/hot_path.py`), put together for that archive (`assembly.py`).

The body is read before the lease is taken: a client that trickles its body holds nothing up. Where tritonserver is gone
when a request comes to it, the home process is asked once more: that waits for the restart. Inference is idempotent.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api import request_context
from server.api.body import ClientGone
from server.api.door import Call, Route, match
from server.api.sagemaker.headers import TARGET_MODEL
from server.api.sagemaker.sessions import SESSION_ID
from server.api.short_way import Asked, Written
from server.domain.clock import Clock
from server.domain.errors import EngineLost
from server.domain.model import StagedArchive
from server.workers.front.held import Held, HeldLeases
from server.workers.front.home_connection import RawHeaders
from server.workers.front.relay import Relay
from server.workers.words import Address

ANSWERED: Final = 200

is_lost: Final[ContextVar[bool]] = ContextVar("is_lost", default=False)
"""Whether the engine was gone when the request of this task came to it."""


def note_failure(error: Exception) -> None:
    """Note in a request's own task that it failed, for whom the answer is to be replaced."""
    if isinstance(error, EngineLost):
        is_lost.set(True)


class HotPath(Protocol):
    """The hot path, for one archive."""

    def route(self, target: bytes) -> Route | None:
        """See `api.short_way.ShortWay`."""
        ...

    async def answer(self, asked: Asked) -> Written:
        """See `api.short_way.ShortWay`."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """How one archive's requests are answered here: the short way, and by ASGI with all that is put around it."""

    archive: StagedArchive
    hot_path: HotPath
    app: ASGIApp


@dataclass(slots=True)
class Kept(Asked):
    """A request as it came, in case it is passed on."""

    headers: list[tuple[bytes, bytes]]
    target: bytes
    address: Address | None


class FrontApp:
    """The outermost app of a worker, and a `ShortWay`."""

    def __init__(
        self,
        held: HeldLeases[Way],
        relay: Relay,
        general: HotPath,
        clock: Clock,
        wants: Callable[[Address], None],
        returned: Callable[[Held[Way]], None],
        max_body_bytes: int,
        *,
        has_short_way: bool = True,
    ) -> None:
        """`general`: a hot path of no archive, which knows the routes.

        `wants` hears of addresses that were passed on and answered; `returned` of leases that came back with the end of
        a request. Without `has_short_way` all requests come by ASGI.
        """
        self._held = held
        self._relay = relay
        self._general = general
        self._now = clock.now
        self._wants = wants
        self._returned = returned
        self._max_body_bytes = max_body_bytes
        self.short_way = self if has_short_way else None
        """For the HTTP protocol (`api/hot_protocol.py`)."""

    # By ASGI: large bodies, everything that is no inference, and all where something is put around the hot path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        address = _address(scope["path"], scope["headers"]) if _may_be_plain(scope) else None
        is_here = address is not None and self._held.find(address, self._now()) is not None
        if address is None or not is_here or _announced(scope["headers"]) > self._max_body_bytes:
            self._learn(address, await self._relay.pass_on(scope, receive, send))
            return
        try:
            read, is_whole = await self._read(receive)
        except ClientGone:
            return
        is_small = sum(map(len, read)) <= self._max_body_bytes
        held = self._held.find(address, self._now()) if is_whole and is_small else None
        if held is None:
            await self._relay.pass_on(scope, _Rest(read, receive, is_whole=is_whole), send)
            return
        is_lost.set(False)
        self._held.begin(held)
        try:
            await held.work.app(scope, _Rest(read, receive, is_whole=True), _unless_lost(send))
        finally:
            self._end(held)
        if is_lost.get():
            await self._relay.pass_on(scope, receive, send, read)

    # The short way

    def route(self, target: bytes) -> Route | None:
        """See `ShortWay`."""
        route = self._general.route(target)
        return route if route is not None and not route.is_generate else None

    def asked(self, route: Route, headers: list[tuple[bytes, bytes]], target: bytes, body: bytes) -> Asked:
        """See `ShortWay`."""
        path = target.decode("ascii")
        call = Call(route, dict(headers))
        chosen = request_context.enter(call.headers)
        return Kept(call, path, body, chosen, headers, target, _address(path, headers))

    def at_once(self, asked: Asked) -> Written | None:  # noqa: ARG002 - the port's
        """See `ShortWay`: tritonserver is always waited for."""
        return None

    async def answer(self, asked: Asked) -> Written:
        """See `ShortWay`."""
        assert isinstance(asked, Kept)
        held = self._held.find(asked.address, self._now()) if asked.address is not None else None
        if held is None:
            written = await self._relay.ask(asked.target, asked.headers, asked.body)
            self._learn(asked.address, written[0])
            return written
        is_lost.set(False)  # a pipelined request begins with what the one before it left
        self._held.begin(held)
        try:
            written = await held.work.hot_path.answer(asked)
        finally:
            self._end(held)
        if is_lost.get():
            return await self._relay.ask(asked.target, asked.headers, asked.body)
        return written

    # What both share

    def _learn(self, address: Address | None, status: int) -> None:
        if address is not None and status == ANSWERED:
            self._wants(address)

    def _end(self, held: Held[Way]) -> None:
        if self._held.end(held, self._now()):
            self._returned(held)

    async def _read(self, receive: Receive) -> tuple[list[bytes], bool]:
        """Read a body, somewhat over its limit at most: the pieces, and whether they are all of it.

        Raises:
            ClientGone.
        """
        read: list[bytes] = []
        size = 0
        while size <= self._max_body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            read.append(message.get("body", b""))
            size += len(read[-1])
            if not message.get("more_body", False):
                return read, True
        return read, False


class _Rest:
    """ASGI's `receive` after a part of the body, or all of it, was read."""

    __slots__ = ("_is_whole", "_read", "_receive")

    def __init__(self, read: list[bytes], receive: Receive, *, is_whole: bool) -> None:
        self._read: list[bytes] | None = read
        self._receive = receive
        self._is_whole = is_whole

    async def __call__(self) -> Message:
        read, self._read = self._read, None
        if read is None:
            return await self._receive()
        body = read[0] if len(read) == 1 else b"".join(read)
        return {"type": "http.request", "body": body, "more_body": not self._is_whole}


def _unless_lost(send: Send) -> Send:
    """ASGI's `send`, but for the answer that the engine was gone: another one will be sent."""

    async def send_on(message: Message) -> None:
        if not is_lost.get():
            await send(message)

    return send_on


def _may_be_plain(scope: Scope) -> bool:
    """Whether this is an inference with one answer, by its path."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
        return False
    route = match(scope["path"])
    return route is not None and not (route.is_stream or route.is_generate)


def _announced(headers: RawHeaders) -> int:
    """How long the body is, as far as that is said."""
    return next((int(value) for name, value in headers if name == b"content-length" and value.isdigit()), 0)


def _address(path: str, headers: RawHeaders) -> Address | None:
    """How the request asks for an archive; `None` where it is in a session."""
    target = b""
    for name, value in headers:
        if name == TARGET_MODEL:
            target = value
        elif name == SESSION_ID:
            return None
    return path, target.decode("latin-1")
