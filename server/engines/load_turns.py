"""Who may load now. A footprint is what a load adds to the process, so a step that has to be measured loads alone.

Steps that need no measurement (it was taken before, or they live in processes of their own) load side by side, and so
do unloads, which must not happen under a measurement either. Turns are given in the order in which they were asked for.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class LoadTurns:
    """A fair lock with two ways in. On one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[bool, asyncio.Future[None]]] = deque()
        self._beside = 0
        self._is_alone = False

    @asynccontextmanager
    async def turn(self, *, alone: bool) -> AsyncGenerator[None, None]:
        """Wait for a turn, hold it in the block."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((alone, mine))
        self._give()
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                self._end(alone=alone)  # given and cancelled in one turn of the loop
            self._give()  # who waited behind it may go now
            raise
        try:
            yield
        finally:
            self._end(alone=alone)

    def _end(self, *, alone: bool) -> None:
        if alone:
            self._is_alone = False
        else:
            self._beside -= 1
        self._give()

    def _give(self) -> None:
        while self._waiting and not self._is_alone:
            alone, next_one = self._waiting[0]
            if next_one.cancelled():
                self._waiting.popleft()
                continue
            if alone and self._beside:
                return
            self._waiting.popleft()
            self._is_alone = alone
            self._beside += not alone
            next_one.set_result(None)
