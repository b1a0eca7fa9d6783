"""An open loop over HTTP/1.1: each request is sent when it is due, however many are still under way.

Latency counts from the moment a request was due, not from when it was sent: a generator or a server that falls behind
cannot hide it (no coordinated omission). On bare sockets, as the closed loop, and with as many connections as it takes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, cast

_LATE_S: Final = 0.0005
IDLE_S: Final = 30.0
"""After that a connection is not used again, as pools of HTTP clients do: a server may close it at the same moment, and
whoever asks just then gets no answer. Servers keep them for 60 to 75 s."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; status 0: the connection broke or the time ran out. Header names are lower-case."""

    status: int
    head: bytes = b""
    body: bytes = b""

    def header(self, name: bytes) -> bytes:
        """A header's value, empty where it is absent."""
        at = self.head.find(b"\r\n" + name + b":")
        if at < 0:
            return b""
        return self.head[at + len(name) + 3 :].split(b"\r\n", 1)[0].strip()


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time; answers are framed by Content-Length."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[Reply] | None = None
        self.is_open = True
        self.idle_since = 0.0
        self._head = b""
        self._body = bytearray()
        self._missing = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's transports are no subclasses

    def ask(self, request: bytes) -> "asyncio.Future[Reply]":
        self.reply = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self.reply

    def data_received(self, data: bytes) -> None:
        self._body += data
        if self._missing < 0:
            end = self._body.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = bytes(self._body[: end + 2])
            del self._body[: end + 4]
            lower = self._head.lower()
            at = lower.find(b"\r\ncontent-length:")  # others end alike: inference-header-content-length
            self._missing = int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._body) >= self._missing:
            self._finish(Reply(int(self._head[9:12]), self._head.lower(), bytes(self._body)))
            self._body.clear()
            self._missing = -1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self.is_open = False
        self._finish(Reply(0))

    def close(self) -> None:
        self._transport.close()

    def _finish(self, reply: Reply) -> None:
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(reply)


@dataclass
class Client:
    """Connections to one server; new ones are opened where all are busy."""

    host: str
    port: int
    idle_s: float = IDLE_S
    _idle: list[_Connection] = field(default_factory=list)
    """Who has been idle for the shortest time is the last."""
    opened: int = 0

    async def ask(self, request: bytes, timeout_s: float) -> Reply:
        """Send a whole request and wait for the answer."""
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._connection()
                reply = await connection.ask(request)
        except (OSError, TimeoutError):
            if connection is not None:
                connection.close()
            return Reply(0)
        if connection.is_open:
            connection.idle_since = perf_counter()
            self._idle.append(connection)
        return reply

    async def get(self, path: str, timeout_s: float = 30.0) -> Reply:
        """GET a path."""
        return await self.ask(f"GET {path} HTTP/1.1\r\nhost: {self.host}\r\n\r\n".encode(), timeout_s)

    def close(self) -> None:
        """Close what is idle."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connection(self) -> _Connection:
        if self._idle and perf_counter() - self._idle[-1].idle_since > self.idle_s:
            self.close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        self.opened += 1
        _, made = await asyncio.get_running_loop().create_connection(_Connection, self.host, self.port)
        return made


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one request. Seconds from the start of the load."""

    index: int
    due_s: float
    sent_s: float
    done_s: float
    reply: Reply

    @property
    def latency_s(self) -> float:
        """From when it was due."""
        return self.done_s - self.due_s


async def put(
    client: Client,
    due: Sequence[float],
    request: Callable[[int], bytes],
    heard: Callable[[Answered], None],
    timeout_s: float,
) -> None:
    """Send request `i` at `due[i]` seconds (ascending) after the call; `heard` gets each answer as it comes."""
    begin = perf_counter()

    async def one(index: int) -> None:
        sent = perf_counter() - begin
        reply = await client.ask(request(index), timeout_s)
        heard(Answered(index, due[index], sent, perf_counter() - begin, reply))

    async with asyncio.TaskGroup() as tasks:
        for index, at in enumerate(due):
            early = begin + at - perf_counter()
            await asyncio.sleep(early if early > _LATE_S else 0)
            tasks.create_task(one(index))
