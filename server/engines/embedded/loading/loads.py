"""Steps on their way in and out, seen from the event loop: whose turn it is, and what is undone.

The work itself is done by worker threads: `loader.py` loads, `resident.py` lets go.
"""

import asyncio
from functools import partial
from typing import Final

from server.domain.clock import Clock
from server.domain.errors import Bug
from server.domain.model import CPU, Footprint, Step, StepDigest
from server.engines.embedded.loading.loader import Loader
from server.engines.embedded.loading.settling import Settling
from server.engines.embedded.memory.sweeping import Sweeping
from server.engines.embedded.resident import Resident
from server.engines.embedded.running.workers import Workers
from server.engines.load_turns import LoadTurns

_HEAD_START_S: Final = 0.01
"""For loads that soon run without Python's lock, before one that may hold it for long (a tokenizer: 45 ms)."""


class Loads:
    """Puts steps into `residents`, which it shares with the engine, and takes them out again. On one event loop."""

    def __init__(
        self,
        residents: dict[StepDigest, Resident],
        turns: LoadTurns,
        workers: Workers,
        sweeping: Sweeping,
        settling: Settling,
        clock: Clock,
    ) -> None:
        self._residents = residents
        self._turns = turns
        self._workers = workers
        self._sweeping = sweeping
        self._settling = settling
        self._clock = clock
        self._tasks: set[asyncio.Task[Footprint]] = set()
        self.leaving: dict[StepDigest, Resident] = {}
        """Steps that take no requests any more, and are in memory still."""

    async def load(self, loader: Loader, step: Step) -> Footprint:
        """Load in a worker thread; alone, where it has to be measured. A cancelled load is undone when it is through.

        Raises:
            Bug: it is there already, or what it calls is not.
            RoundhouseError: as `Loader.plan` and `Loader.load`.
        """
        was_cancelled = asyncio.Event()
        task = asyncio.create_task(self._load(loader, step, was_cancelled))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    async def wait(self) -> None:
        """Return when no load is under way, cancelled ones included."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def unload(self, digest: StepDigest) -> None:
        """Wait for what still runs, free the step and give its memory back to the system."""
        resident = self._residents.pop(digest, None)
        if resident is None:
            return
        self.leaving[digest] = resident
        try:
            await self._workers.call(resident.finish)
            if resident.outside_bytes():  # frees nothing in this process, and may take its time to end its own
                await self._free(resident)
                return
            async with self._turns.turn(alone=False):  # what a measured load sees freed is missing in its footprint
                await self._free(resident)
        finally:
            self.leaving.pop(digest, None)

    async def _load(self, loader: Loader, step: Step, was_cancelled: asyncio.Event) -> Footprint:
        plan = await self._workers.call(partial(loader.plan, step))
        if plan.holds_interpreter and len(self._tasks) > 1:
            await asyncio.sleep(_HEAD_START_S)
        async with self._turns.turn(alone=plan.known_bytes is None):
            if step.digest in self._residents:
                raise Bug(f"step {step.name!r} is loaded twice. This is a bug.")
            missing = sorted(name for name, digest in step.calls.items() if digest not in self._residents)
            if missing:
                raise Bug(f"step {step.name!r} is loaded before {missing}, which it calls. This is a bug.")
            if plan.known_bytes is None:
                await self._sweeping.sweep()
            resident, footprint = await self._workers.call(partial(loader.load, plan))
            if was_cancelled.is_set():
                await self._free(resident)
            else:
                resident.batch(self._workers, self._clock)
                self._residents[step.digest] = resident
                self._settling.follow(plan)
            del resident
            return footprint

    async def _free(self, resident: Resident) -> None:
        amount = max(resident.step.file_bytes, resident.step.predicted.on(CPU))
        await self._workers.call(resident.close)
        await self._sweeping.freed(amount)
