"""The server as a process: what it logs, what it says when it is ready, and with which code it ends."""

import asyncio
import logging
import os
import sys
import threading
from typing import Final, NoReturn

import psutil
import uvloop

from server.domain.clock import SystemClock
from server.domain.errors import RoundhouseError
from server.lifespan.process import Listener, listen, live
from server.lifespan.welcome import welcome
from server.main import compose
from server.settings import Settings
from server.settings.part_options import default_model
from server.telemetry import logging as log_lines
from server.workers.home.assembly import open_door

_log = logging.getLogger(__name__)
LISTING_S: Final = 2.0
"""How long the line that says that the server is ready waits for the store's list of archives."""


def run(settings: Settings, remarks: list[str]) -> int:
    """Serve until a signal says stop; returns the process's exit code."""
    line_format = settings.log_format
    if line_format == "auto":
        line_format = "text" if sys.stderr.isatty() else "json"
        settings = settings.model_copy(update={"log_format": line_format})  # front-end workers write as this does
    log_lines.configure(line_format, settings.log_level)
    for remark in remarks:
        _log.warning(remark)
    code = uvloop.run(_serve(settings))
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        _leave_at_once(code)
    return code


def _leave_at_once(code: int) -> NoReturn:
    """End without joining threads: all is closed, and one that waits for a silent store may do so for minutes."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _serve(settings: Settings) -> int:
    clock = SystemClock()
    began = psutil.Process().create_time()  # what a user waits for: Python's own start and the imports too
    try:
        house = compose(settings, clock)
        door = open_door(settings, house.desk, house.life, clock)
        listeners = [Listener(house.app, door.opened)]
        if settings.metrics_port is not None:
            listeners.append(Listener(house.metrics_app, listen(settings.host, settings.metrics_port)))
    except (RoundhouseError, ValueError, OSError) as error:
        print(f"roundhouse: {error}", file=sys.stderr)
        return 2

    async def tell() -> None:
        try:
            async with asyncio.timeout(LISTING_S):
                names = await house.names()
        except (RoundhouseError, TimeoutError) as error:  # a store that is away may be back at the first request
            _log.warning("the store's archives cannot be listed: %s", error or f"no answer within {LISTING_S:g} s")
            names = []
        took_s = clock.wall() - began
        default, engine, memory = default_model(settings), house.engine_kind, house.memory
        print(welcome(settings.host, door.port, names, default, took_s, engine, memory), flush=True)

    return await live(listeners, door.life, settings.drain_timeout_s, tell)
