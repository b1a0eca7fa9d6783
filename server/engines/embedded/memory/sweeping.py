"""Giving the memory of unloaded steps back to the system, once for many small ones.

To drop a step frees what it took, but for cycles of Python objects and for pages that malloc keeps. To collect and to
trim costs some ten milliseconds of the interpreter: more than all else that a small step's unload does. To collect
costs ten times that where thousands of requests wait, whose objects are all looked at: so it has a share of the time.
What had to wait for that share is collected later, also where nothing is unloaded any more.
"""

import asyncio
import gc
from collections.abc import Callable
from time import perf_counter
from typing import Final

from server.engines.embedded.memory import host_memory
from server.engines.embedded.running.workers import Workers
from server.engines.load_turns import LoadTurns

LATER_S: Final = 1.0
MOST_OWED_BYTES: Final = 32 << 20
"""Steps of so many bytes may be gone without their memory being given back yet."""
COLLECTING_SHARE: Final = 0.02
"""Of the time may be spent on collecting Python's garbage. What a session takes is freed without."""


class GivingBack:
    """Collects, where that is not too dear, and gives the pages back. Blocks; in any thread."""

    def __init__(
        self,
        now: Callable[[], float] = perf_counter,
        collect: Callable[[], object] = gc.collect,
        release: Callable[[], None] = host_memory.release_free_memory,
    ) -> None:
        self._now, self._collect, self._release = now, collect, release
        self._next_at = 0.0

    def __call__(self) -> float | None:
        """Give back what is free. Returns in how many seconds the garbage that was left may go; `None`: none was."""
        began = self._now()
        left_for_s = self._next_at - began
        if left_for_s <= 0:
            self._collect()
            ended = self._now()
            self._next_at = ended + (ended - began) / COLLECTING_SHARE
        self._release()
        return left_for_s if left_for_s > 0 else None


class Sweeping:
    """Owes what was freed, for a second at most. On one event loop."""

    def __init__(self, workers: Workers, turns: LoadTurns, give_back: Callable[[], float | None] | None = None) -> None:
        self._workers = workers
        self._turns = turns
        self._give_back = give_back or GivingBack()
        self._owed_bytes = 0
        self._is_owing = False
        self._later: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None

    async def freed(self, amount: int) -> None:
        """A step of so many bytes was dropped. To be called in a turn."""
        self._is_owing = True
        self._owed_bytes += amount
        if self._owed_bytes >= MOST_OWED_BYTES:
            await self.sweep()
        else:
            self._owe()

    async def sweep(self) -> None:
        """Give back now what is owed: before anything is measured. To be called in a turn."""
        if self._is_owing:
            self._is_owing, self._owed_bytes = False, 0
            left_for_s = await self._workers.call(self._give_back)
            self._forget_again()
            if left_for_s is not None:
                self._again = asyncio.get_running_loop().call_later(left_for_s, self._owe)

    async def close(self) -> None:
        """Nothing comes any more."""
        if self._later is not None:
            self._later.cancel()
            await asyncio.wait({self._later})
        await self.sweep()
        self._forget_again()

    def _owe(self) -> None:
        self._is_owing = True
        if self._later is None:
            self._later = asyncio.create_task(self._sweep_later(), name="give memory back")

    def _forget_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    async def _sweep_later(self) -> None:
        try:
            await asyncio.sleep(LATER_S)
            async with self._turns.turn(alone=False):  # what a measured load sees freed is missing in its footprint
                await self.sweep()
        finally:
            self._later = None
