"""A small HTTP proxy before S3 that can refuse, delay, break off and fall silent; one request per connection.

It runs on an event loop in a thread of its own. What befalls a request is drawn when it comes, by the weather.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

Weather = Literal["calm", "errors", "slow", "breaking off", "away"]
WEATHERS: Final[tuple[Weather, ...]] = ("errors", "slow", "breaking off", "away")
_SHARE: Final = 0.5
"""Of the requests, so many are hit in bad weather; all, when S3 is away."""
_SLOW_DOWN: Final = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_MOST_HEAD: Final = 65536


@dataclass(slots=True)
class Counts:
    """What the proxy did."""

    passed: int = 0
    harmed: int = 0


class FaultProxy:
    """Passes requests on to `127.0.0.1:target`. `weather` may be set from any thread."""

    def __init__(self, target: int, dice: random.Random) -> None:
        self.weather: Weather = "calm"
        self.counts = Counts()
        self.port = 0
        self._target = target
        self._dice = dice
        self._running: set[asyncio.Task[Any]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)  # asyncio itself does not hold on to it
        try:
            head, body = await _request(reader)
            await self._weathered(head, body, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # either side went away
        finally:
            writer.close()
            self._running.discard(task)

    async def _weathered(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        weather = self.weather
        if weather == "calm" or (weather != "away" and self._dice.random() > _SHARE):
            self.counts.passed += 1
            await self._pass_on(head, body, writer)
            return
        self.counts.harmed += 1
        if weather == "away":
            return  # the connection closes without a word
        if weather == "errors":
            status = self._dice.choice((b"500 Internal Server Error", b"503 Slow Down", b"503 Service Unavailable"))
            length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(_SLOW_DOWN)
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Type: application/xml\r\n" + length + _SLOW_DOWN)
            await writer.drain()
        elif weather == "slow":
            await asyncio.sleep(self._dice.uniform(0.2, 3.0))
            await self._pass_on(head, body, writer)
        else:
            await self._pass_on(head, body, writer, at_most=self._dice.randrange(1, 100_000))

    async def _pass_on(self, head: bytes, body: bytes, writer: asyncio.StreamWriter, at_most: int = 1 << 40) -> None:
        from_s3, to_s3 = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            to_s3.write(head + body)
            await to_s3.drain()
            while at_most > 0 and (piece := await from_s3.read(min(65536, at_most))):
                at_most -= len(piece)
                writer.write(piece)
                await writer.drain()
        finally:
            to_s3.close()


async def _request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The request's head, asking for the connection to be closed after the answer, and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    fields = [line for line in lines if not line.lower().startswith((b"connection:", b"expect:"))]
    length = next((int(line.split(b":")[1]) for line in fields if line.lower().startswith(b"content-length:")), 0)
    body = await reader.readexactly(length)
    return b"\r\n".join([first, *fields, b"Connection: close", b"", b""]), body


@contextmanager
def fault_proxy(target: int, dice: random.Random) -> Iterator[FaultProxy]:
    """A proxy that listens on a free port of loopback."""
    proxy = FaultProxy(target, dice)
    listening = threading.Event()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(over.set))
        server = await asyncio.start_server(proxy.answer, "127.0.0.1", 0, limit=_MOST_HEAD)
        proxy.port = server.sockets[0].getsockname()[1]
        listening.set()
        async with server:
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="fault proxy", daemon=True)
    thread.start()
    if not listening.wait(10):
        raise RuntimeError("the proxy did not start")
    try:
        yield proxy
    finally:
        stop[0]()
        thread.join(10)
