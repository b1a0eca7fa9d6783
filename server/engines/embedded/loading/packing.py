"""Packing the weights of steps that have proven themselves, while they run. See `backends/onnx_packing.py`.

Not at the load: most of thousands of archives are asked for now and then, and what it costs would never come back.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from server.domain.model import StepDigest
from server.engines.embedded.memory import host_memory
from server.engines.embedded.memory.load_peak import LoadPeaks
from server.engines.embedded.resident import Resident
from server.engines.embedded.running.workers import Workers
from server.engines.load_turns import LoadTurns

_log = logging.getLogger(__name__)


class Packing:
    """One step at a time. On one event loop, but for `ask`."""

    def __init__(
        self, residents: Mapping[StepDigest, Resident], turns: LoadTurns, workers: Workers, peaks: LoadPeaks
    ) -> None:
        self._residents: Final = residents
        self._turns: Final = turns
        self._workers: Final = workers
        self._peaks: Final = peaks
        self._loop: asyncio.AbstractEventLoop | None = None
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """From now on `ask` is heard."""
        self._loop = asyncio.get_running_loop()

    def ask(self, digest: StepDigest) -> None:
        """The step is worth it. From any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the server ends
                self._loop.call_soon_threadsafe(self._follow, digest)

    async def close(self) -> None:
        """Leave undone what has not begun."""
        self._loop = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def facts(self) -> list[Mapping[str, object]]:
        """The steps whose weights are packed, JSON-ready."""
        return [packed for each in self._residents.values() if (packed := each.packed) is not None]

    def _follow(self, digest: StepDigest) -> None:
        task = asyncio.create_task(self._pack(digest), name=f"pack {digest[:12]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pack(self, digest: StepDigest) -> None:
        async with self._one_at_a_time, self._turns.turn(alone=False):  # not under a measurement
            resident = self._residents.get(digest)
            if resident is not None and not self._shares_weights(resident):
                await self._workers.call(partial(self._pack_now, resident))

    def _shares_weights(self, resident: Resident) -> bool:
        """Whether its files are mapped for another step too: then packed ones would be a second copy."""
        mine = {file.digest for file in resident.step.weights}
        others = (each for each in self._residents.values() if each is not resident)
        return any(file.digest in mine for other in others for file in other.step.weights)

    def _pack_now(self, resident: Resident) -> None:
        with self._peaks.packing(resident.step):
            has_packed = resident.pack()
            host_memory.collect_and_release()  # the sessions until now
        if has_packed and (packed := resident.packed) is not None:
            products = packed["split_products"]
            how = f"; matrix products that run in bfloat16 halves from now on: {products}" if products else ""
            _log.info("packed the weights of step %r%s", resident.step.name, how)
