"""Lets archives go that nobody asked for any more, for as long as the server lives."""

import asyncio
from contextlib import suppress
from typing import Final, Protocol

LONGEST_PAUSE_S: Final = 30.0
PAUSES_PER_LIFE: Final = 4


class Expires(Protocol):
    """Residency, as far as this file needs it."""

    def expire(self) -> None:
        """Let go of what outlived its time."""
        ...


class Expiry:
    """Calls `expire` so often that an archive outlives `ttl_s` by a quarter of it or by half a minute at most."""

    def __init__(self, residency: Expires, ttl_s: float | None) -> None:
        """`ttl_s`: the time to live; `None`: archives leave only when room is needed."""
        self._residency = residency
        self._pause_s = min(LONGEST_PAUSE_S, ttl_s / PAUSES_PER_LIFE) if ttl_s is not None else None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to look. Call it on the event loop of residency."""
        if self._pause_s is not None:
            self._task = asyncio.create_task(self._look(self._pause_s), name="expiry")

    async def end(self) -> None:
        """Look no more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _look(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            self._residency.expire()
