"""The life of a worker process: it ends when its home says so, or is gone. Signals that mean the home are ignored."""

import asyncio
import gc
import logging
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import uvloop

from server.domain.clock import SystemClock
from server.engines.triton.borrowed import BorrowedTriton
from server.engines.triton.options import TritonOptions
from server.lifespan.process import CutOff, http_server
from server.settings import Settings
from server.telemetry import logging as log_lines
from server.workers.channel import Channel
from server.workers.front.app import FrontApp, Way
from server.workers.front.assembly import Assembly
from server.workers.front.held import HeldLeases
from server.workers.front.relay import Relay
from server.workers.front.tally import Tally
from server.workers.front.worker import TICK_S, Worker
from server.workers.words import Ready, Welcome, Word

IDLE_S: Final = 5.0
"""A lease that was not used for so long goes back."""
_log = logging.getLogger(__name__)


def main(channel_fd: int, listener_fd: int) -> int:
    """Serve until told to leave; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal's or a supervisor's, meant for all: the home decides
        signal.signal(number, signal.SIG_IGN)
    return uvloop.run(_serve(socket.socket(fileno=channel_fd), socket.socket(fileno=listener_fd)))


async def _serve(opened: socket.socket, listener: socket.socket) -> int:
    clock = SystemClock()
    channel = await Channel.over(opened)
    words = aiter(channel)
    welcome = await anext(words, None)
    if not isinstance(welcome, Welcome):
        return 1
    settings = Settings.model_validate_json(welcome.settings)
    line_format = settings.log_format if settings.log_format != "auto" else "json"
    log_lines.configure(line_format, settings.log_level)
    logging.getLogger("uvicorn.error").addFilter(CutOff())
    relay = Relay(welcome.relay, clock)
    tally = Tally(clock, notes_arrivals=welcome.notes_arrivals)
    engine = BorrowedTriton(TritonOptions(settings.cache_dir).connections)
    assembly = Assembly(settings, engine, relay, tally, clock)
    held: HeldLeases[Way] = HeldLeases(IDLE_S)
    worker = Worker(channel, held, tally, assembly, clock)
    app = FrontApp(
        held,
        relay,
        assembly.general(),
        clock,
        worker.wants,
        worker.returned,
        settings.max_body,
        has_short_way=not assembly.is_guarded,
    )
    server = http_server(app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ticking = asyncio.create_task(_tick(worker))
    leaving = asyncio.create_task(worker.has_to_leave.wait())
    hearing = asyncio.create_task(_hear(words, worker))
    gc.collect()
    gc.freeze()  # what was imported and assembled stays
    channel.say(Ready())
    await asyncio.wait({serving, ticking, leaving, hearing}, return_when=asyncio.FIRST_COMPLETED)
    if hearing.done() and not leaving.done():
        return _orphaned(hearing, Path(welcome.relay).parent)
    server.should_exit = True
    await asyncio.gather(serving, return_exceptions=True)
    for task in (ticking, leaving, hearing):
        task.cancel()
    await asyncio.gather(ticking, leaving, hearing, return_exceptions=True)
    relay.close()
    assembly.close()
    channel.close()
    return 0 if worker.has_to_leave.is_set() else 1


def _orphaned(hearing: "asyncio.Task[None]", relay_folder: Path) -> int:
    """Clean up after a home process that could not do it itself."""
    error = hearing.exception()
    _log.error("the home process is gone: %s", error or "its channel is closed")
    shutil.rmtree(relay_folder, ignore_errors=True)
    logging.shutdown()
    sys.stdout.flush()
    return 1


async def _hear(words: AsyncIterator[Word], worker: Worker) -> None:
    async for word in words:
        worker.hear(word)


async def _tick(worker: Worker) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        worker.tick()
