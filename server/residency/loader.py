"""Does with the engine what the planner commands, and reports back how it went."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from server.domain.clock import Clock
from server.domain.errors import DeviceFull, EngineLost, LoadFailed, RoundhouseError
from server.domain.model import StepDigest
from server.domain.ports import Engine
from server.residency.events import (
    Event,
    Load,
    StepFailed,
    StepLoaded,
    StepLost,
    StepOutOfMemory,
    StepUnloaded,
    Unload,
)
from server.residency.footprint import Footprints

logger = logging.getLogger(__name__)


class Loader:
    """One task per command. `report` gets the event that ends it, `unloaded` the archive and seconds of an unload."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        footprints: Footprints,
        report: Callable[[Event], None],
        unloaded: Callable[[str, float], None],
        retry_pause_s: float,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._footprints = footprints
        self._report = report
        self._unloaded = unloaded
        self._retry_pause_s = retry_pause_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._began: dict[StepDigest, float] = {}

    def load(self, command: Load) -> None:
        """Begin to load a step."""
        self._began[command.step.digest] = self._clock.now()
        self._run(self._load(command), f"load {command.step.name}")

    def unload(self, command: Unload) -> None:
        """Begin to unload a step."""
        self._run(self._unload(command), f"unload {command.digest[:12]}")

    def elapsed_s(self, digest: StepDigest) -> float:
        """For how long the step has been loading; 0 if it is not."""
        began = self._began.get(digest)
        return 0.0 if began is None else self._clock.now() - began

    async def finish(self) -> None:
        """Wait until everything that began is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Give up what began. Only for the end of the process: nothing is reported any more."""
        for task in self._tasks:
            task.cancel()
        await self.finish()

    async def _load(self, command: Load) -> None:
        if command.attempt:
            await asyncio.sleep(self._retry_pause_s * 2 ** (command.attempt - 1))
        event = await self._try(command)
        self._began.pop(command.step.digest, None)
        self._report(event)
        if self._footprints.needs_saving:
            await asyncio.to_thread(self._footprints.write, self._footprints.take_unsaved())

    async def _try(self, command: Load) -> Event:
        step, began = command.step, self._clock.now()
        try:
            measured = await self._engine.load(step)
        except DeviceFull as error:
            self._footprints.outgrew(step)
            return StepOutOfMemory(self._clock.now(), step.digest, error.said)
        except EngineLost as error:
            return StepLost(self._clock.now(), step.digest, error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            lost = EngineLost(f"the engine gave up while it loaded step {step.name!r}")  # not we were cancelled: it was
            return StepLost(self._clock.now(), step.digest, lost)
        except RoundhouseError as error:
            return StepFailed(self._clock.now(), step.digest, error)
        except Exception as error:
            logger.exception("step %r: the engine raised something unexpected while loading", step.name)
            failure = LoadFailed(f"step {step.name!r} could not be loaded: {type(error).__name__}: {error}")
            failure.__cause__ = error
            return StepFailed(self._clock.now(), step.digest, failure)
        now = self._clock.now()
        return StepLoaded(now, step.digest, self._footprints.measured(step, measured, now - began))

    async def _unload(self, command: Unload) -> None:
        began = self._clock.now()
        try:
            await self._engine.unload(command.digest)
        except EngineLost:
            logger.warning("step %s: the engine died while unloading it; its memory is back", command.digest[:12])
        except Exception:
            # What cannot be unloaded cannot be waited for either; the engine's own restart frees it.
            logger.exception("step %s: could not be unloaded", command.digest[:12])
        self._unloaded(command.whose, self._clock.now() - began)
        self._report(StepUnloaded(self._clock.now(), command.digest))

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
