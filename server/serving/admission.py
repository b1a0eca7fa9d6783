"""How many requests may be inside at once, and the end of admitting when the server goes down.

A counter, not a semaphore: a request over the limit is refused at once. Queueing it here would hide the overload from
the caller, who could go elsewhere.
"""

import asyncio
from types import TracebackType
from typing import Self

from server.domain.errors import Draining, Overloaded


class Admission:
    """Counts running requests. `with admission.slot():` is one of them. Lives on one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0
        self._is_draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Requests inside right now."""
        return self._running

    @property
    def limit(self) -> int:
        """The most requests that may be inside."""
        return self._limit

    @property
    def is_open(self) -> bool:
        """Whether a slot would be given."""
        return self._running < self._limit and not self._is_draining

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is admitted any more."""
        return self._is_draining

    def slot(self) -> Self:
        """Take a slot on entering, give it back on leaving.

        Raises (on entering):
            Draining: the server goes down.
            Overloaded: the limit is reached.
        """
        return self

    def __enter__(self) -> None:
        if self._is_draining:
            raise Draining
        if self._running >= self._limit:
            raise Overloaded(self._limit)
        self._running += 1
        self._idle.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running -= 1
        if self._running == 0:
            self._idle.set()

    async def drain(self, timeout_s: float) -> bool:
        """Refuse what is new, wait for what runs; returns whether all of it finished in time."""
        self._is_draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
