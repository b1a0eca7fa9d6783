"""Work that is done again and again for as long as the server lives."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

_log = logging.getLogger(__name__)


class Rounds:
    """Does `work` every `pause_s` seconds, the first time after the first pause; `None`: never.

    A round that fails is logged, and the next one comes all the same.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], pause_s: float | None) -> None:
        self._name = name
        self._work = work
        self._pause_s = pause_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to go round, on this event loop."""
        if self._pause_s is not None:
            self._task = asyncio.create_task(self._go_round(self._pause_s), name=self._name)

    async def end(self) -> None:
        """Go round no more; what is under way is given up. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _go_round(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._work()
            except Exception:
                _log.exception("%s failed, and goes on", self._name)
