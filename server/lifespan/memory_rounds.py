"""Compares the ledger with the memory now and then, also where nothing is loaded for hours and requests leak."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

PAUSE_S: Final = 30.0


class MemoryRounds:
    """Calls `look` for as long as the server lives."""

    def __init__(self, look: Callable[[], Awaitable[None]], pause_s: float = PAUSE_S) -> None:
        self._look = look
        self._pause_s = pause_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to look. Call it on the event loop of residency."""
        self._task = asyncio.create_task(self._go_round(), name="memory rounds")

    async def end(self) -> None:
        """Look no more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s)
            await self._look()
