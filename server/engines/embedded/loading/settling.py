"""What a load leaves for a moment later, when whoever waited for it has had the processor to himself.

- A step over packed weights gets its second session: the first answer needs one.
- Mapped weights are read in: else their pages come one by one with the requests.
- A step that was measured before on this host was warmed up then: that it works is known. It is warmed up again only
  if nobody asks for it at once, since the first request does the same.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Final

from server.domain.errors import RoundhouseError
from server.domain.model import StepDigest
from server.engines.embedded.loading.loader import LoadPlan
from server.engines.embedded.loading.warmup import warm_up
from server.engines.embedded.memory import host_memory
from server.engines.embedded.resident import Resident
from server.engines.embedded.running.workers import Workers
from server.engines.load_turns import LoadTurns

_log = logging.getLogger(__name__)
_AFTER_S: Final = 0.25
_WORTH_READING_BYTES: Final = 1 << 20


class Settling:
    """Follows loads. On one event loop."""

    def __init__(self, residents: Mapping[StepDigest, Resident], turns: LoadTurns, workers: Workers) -> None:
        self._residents = residents
        self._turns = turns
        self._workers = workers
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, plan: LoadPlan) -> None:
        """The step has just been loaded."""
        is_mapped = plan.backend == "onnxruntime" and plan.step.file_bytes >= _WORTH_READING_BYTES
        if is_mapped or (plan.is_warmed_up_later and plan.config.model_warmup):
            task = asyncio.create_task(self._settle(plan), name=f"settle {plan.step.name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave undone what has not begun."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _settle(self, plan: LoadPlan) -> None:
        await asyncio.sleep(_AFTER_S)
        async with self._turns.turn(alone=False):  # not under a measurement
            resident = self._residents.get(plan.step.digest)
            if resident is not None:
                await self._workers.call(partial(_settle, plan, resident))


def _settle(plan: LoadPlan, resident: Resident) -> None:
    try:
        resident.settle()
        for folder in resident.folders:
            host_memory.map_in(folder)
        if not plan.is_warmed_up_later or resident.has_run:
            return
        warm_up(resident, plan.config, plan.step.directory)
    except RoundhouseError as error:  # unloaded meanwhile; or it breaks under the first request too, which is told
        _log.info("step %r was not settled or warmed up: %s", plan.step.name, error)
