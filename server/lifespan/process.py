"""How the process lives: open the port, get ready, serve, drain, leave with 0.

The port opens first, so that a health check is answered while archives are still loading (`/ping` says when they are
done). SIGTERM and SIGINT end it the same way: no new requests, running ones finish, everything is freed.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from server.api.hot_protocol import HotProtocol

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Life:
    """What happens when. `begin` ends when the server is ready; `drain` when nothing runs any more; `end` frees all."""

    begin: Callable[[], Awaitable[None]]
    drain: Callable[[float], Awaitable[None]]
    end: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Listener:
    """An ASGI app behind an open socket."""

    app: Any
    opened: socket.socket


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: it would end the process by the signal itself, and we owe an exit code 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class CutOff(logging.Filter):
    """Says in one line, without a traceback, that a request was cut off: that is decided, and no fault of its code."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite uvicorn's report of a request that it cancelled itself."""
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args, record.exc_info = "a running request was cut off by the server's end", (), None
        return True


_CUT_OFF = CutOff()


def listen(host: str, port: int) -> socket.socket:
    """Open the port. Raises OSError, with the address in its text."""
    try:
        return socket.create_server((host, port), backlog=2048, reuse_port=False)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error


async def live(
    listeners: Sequence[Listener], life: Life, drain_timeout_s: float, on_ready: Callable[[], Awaitable[None]]
) -> int:
    """Serve `listeners` until a signal says stop; returns the process's exit code.

    A failing `begin` ends the process with 1: an orchestrator must see that the server never became ready.
    """
    logging.getLogger("uvicorn.error").addFilter(_CUT_OFF)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    servers = {http_server(each.app): each.opened for each in listeners}
    serving = [asyncio.create_task(server.serve(sockets=[opened])) for server, opened in servers.items()]
    beginning = asyncio.create_task(_begin(life, on_ready))
    stop = asyncio.create_task(stopping.wait())
    code = 0
    try:
        await asyncio.wait({*serving, beginning, stop}, return_when=asyncio.FIRST_COMPLETED)
        if beginning.done() and (error := beginning.exception()) is not None:
            _log.error("the server could not get ready: %s", error)
            code = 1
        elif not stopping.is_set() and not _has_ended(serving):
            await asyncio.wait({*serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        if _has_ended(serving) and not stopping.is_set():
            _log.error("the HTTP server ended by itself")
            code = 1
    finally:
        await _leave(servers, serving, (beginning, stop), life, drain_timeout_s)
    return code


def http_server(app: Any) -> uvicorn.Server:
    """An HTTP server for an app, to be served on open sockets. It leaves signals alone."""
    return _Server(
        uvicorn.Config(
            app,
            http=HotProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",  # when it starts and stops is told by us
            server_header=False,
            proxy_headers=False,  # the app is the outermost one, and asks nobody's address
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,  # what `drain` gave up waiting for will not finish now
        )
    )


def _has_ended(serving: Collection["asyncio.Task[None]"]) -> bool:
    return any(task.done() for task in serving)


async def _begin(life: Life, on_ready: Callable[[], Awaitable[None]]) -> None:
    await life.begin()
    await on_ready()


async def _leave(
    servers: Collection[uvicorn.Server],
    serving: Collection["asyncio.Task[None]"],
    others: Collection["asyncio.Task[Any]"],
    life: Life,
    drain_timeout_s: float,
) -> None:
    """Drain while the ports still answer (with 503), then close them, then free everything."""
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await life.drain(drain_timeout_s)
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*serving, return_exceptions=True)
    await life.end()
