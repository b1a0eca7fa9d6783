"""Looks now and then whether an archive will be asked for soon, for as long as the server lives."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

PAUSE_S: Final = 5.0
"""Between two looks. Intervals are told apart from five minutes on, so that a guess loses nothing by it."""
FEW: Final = 2
"""Requests inside at which the server still counts as idle."""
_log = logging.getLogger(__name__)


class Looks(Protocol):
    """The prefetcher, as far as this file needs it."""

    async def look(self, *, is_idle: bool) -> None:
        """Learn, and where the server is idle bring up what is expected."""
        ...


class Prefetching:
    """Calls `look` again and again. `running` says how many requests are inside."""

    def __init__(self, prefetcher: Looks, running: Callable[[], int], pause_s: float = PAUSE_S) -> None:
        self._prefetcher = prefetcher
        self._running = running
        self._pause_s = pause_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to look. Call it on the event loop of residency."""
        self._task = asyncio.create_task(self._look(), name="prefetching")

    async def end(self) -> None:
        """Look no more; what is under way is given up. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s)
            try:
                await self._prefetcher.look(is_idle=self._running() <= FEW)
            except Exception:  # guesses are a favour: nobody may fail for them
                _log.exception("prefetching failed, and goes on")
