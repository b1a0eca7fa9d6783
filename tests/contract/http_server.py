"""Runs an ASGI app as it runs in production, on a free port of the loopback interface, in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

from server.api.hot_protocol import HotProtocol

T = TypeVar("T")
START_S = 30


class _Server(uvicorn.Server):
    """Says when it listens, and on which loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening: Future[tuple[asyncio.AbstractEventLoop, int]] = Future()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.listening.set_result((asyncio.get_running_loop(), self.servers[0].sockets[0].getsockname()[1]))


@dataclass(frozen=True, slots=True)
class RunningServer:
    """`base_url` has no trailing slash."""

    base_url: str
    port: int
    loop: asyncio.AbstractEventLoop

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start something on the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def on_loop(self, call: Callable[[], T]) -> T:
        """Call something on the server's event loop, where its parts live, and return what it returns."""

        async def called() -> T:
            return call()

        return self.submit(called()).result(START_S)


@contextmanager
def serving(app: Any, loop: str = "auto") -> Iterator[RunningServer]:
    """Serve `app` while the block runs; its lifespan starts and ends with it."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        loop=loop,  # type: ignore[arg-type]
        http=HotProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)

    def run() -> None:
        try:
            server.run()
        finally:
            if not server.listening.done():
                server.listening.set_exception(RuntimeError("the server ended while it started; see its log"))

    thread = threading.Thread(target=run, name="server under test", daemon=True)
    thread.start()
    try:
        running_loop, port = server.listening.result(START_S)
        yield RunningServer(f"http://127.0.0.1:{port}", port, running_loop)
    finally:
        server.should_exit = True
        thread.join(START_S)


@contextmanager
def running(app: Any) -> Iterator[str]:
    """Serve `app` while the block runs; gives its base URL."""
    with serving(app) as server:
        yield server.base_url
