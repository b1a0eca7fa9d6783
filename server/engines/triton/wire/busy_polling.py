"""Staying awake for an answer that is due any moment.

A process that sleeps until a socket has something for it must be woken. On a virtual machine, whose idle cores halt,
that takes as long as some of Triton's answers. So while one request is under way, and the last one that was alone came
back soon, the event loop looks again and again instead of sleeping. With more under way it is awake anyway, and the
core that it would take is wanted.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

LONGEST_S: Final = 500e-6
"""So long it stays awake for one answer, and only for answers that took less the last time: a model that computes for
longer does not notice how its answer is fetched, and may want the core."""


class BusyPolling:
    """Told of each request's beginning and end. On one event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock`: seconds."""
        self._clock: Final = clock
        self._under_way = 0
        self._began = 0.0
        self._was_alone = False
        self._is_quick = True
        self._until = 0.0
        self.is_awake = False
        """Whether it keeps the loop from sleeping."""

    def began(self) -> None:
        """A request was sent."""
        self._under_way += 1
        self._was_alone = self._under_way == 1
        if not self._was_alone:
            self._until = 0.0
            return
        self._began = self._clock()
        if self._is_quick:
            self._until = self._began + LONGEST_S
            if not self.is_awake:
                self.is_awake = True
                asyncio.get_running_loop().call_soon(self._look)

    def ended(self) -> None:
        """A request has its answer, or never will."""
        self._under_way -= 1
        self._until = 0.0
        if self._was_alone:
            self._is_quick = self._clock() - self._began < LONGEST_S

    def _look(self) -> None:
        """Called in each turn of the loop, which asks the sockets without waiting while there is something to call."""
        if self._clock() < self._until:
            asyncio.get_running_loop().call_soon(self._look)
        else:
            self.is_awake = False
