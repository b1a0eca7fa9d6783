"""Giving the scratch memory of requests back to the system, while nothing runs."""

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn

from server.engines.embedded.memory import host_memory
from server.engines.embedded.running.workers import Workers

_INTERVAL_S: Final = 2.0
_WHEN_BUSY: Final = 10  # intervals; it costs some milliseconds in which nobody can allocate


async def tidy(activity: Callable[[], tuple[int, int]], workers: Workers) -> NoReturn:
    """Give scratch memory back, for ever: malloc keeps it for the next request, but not for longer than that is worth.

    `activity` counts requests: begun so far, running now.
    """
    tidied, skipped = 0, 0
    while True:
        await asyncio.sleep(_INTERVAL_S)
        begun, running = activity()
        if begun == tidied:
            continue
        skipped += 1
        if not running or skipped > _WHEN_BUSY:
            tidied, skipped = begun, 0
            await workers.call(host_memory.release_free_memory)
