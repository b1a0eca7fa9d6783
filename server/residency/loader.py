"""Does with the engine what the planner commands, and reports back how it went."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

from server.domain.clock import Clock
from server.domain.cold_start import LoadTimes, StepStart
from server.domain.errors import DeviceFull, EngineLost, LoadFailed, RoundhouseError
from server.domain.model import Step, StepDigest
from server.domain.ports import Engine
from server.residency.host import HostTier
from server.residency.memory.footprint import MOST_REMEMBERED, Footprints
from server.residency.observer import ResidencyObserver
from server.residency.planning.commands import Load, Unload
from server.residency.planning.events import Event, StepFailed, StepLoaded, StepLost, StepOutOfMemory, StepUnloaded

logger = logging.getLogger(__name__)


class Loader:
    """One task per command. `report` gets the event that ends it, `observer` what it took."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        footprints: Footprints,
        report: Callable[[Event], None],
        observer: ResidencyObserver,
        retry_pause_s: float,
        host: HostTier,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._footprints = footprints
        self._report = report
        self._observer = observer
        self._retry_pause_s = retry_pause_s
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._began: dict[StepDigest, float] = {}
        self._loaded: dict[StepDigest, tuple[float, StepStart]] = {}

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

    def loaded_since(self, at: float, steps: Iterable[Step]) -> tuple[StepStart, ...]:
        """What those of the steps took whose load ended after `at` (monotonic seconds)."""
        found = (self._loaded.get(step.digest) for step in steps)
        return tuple(start for ended, start in filter(None, found) if ended > at)

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
        is_from_host = self._host.wanted(step.digest)
        try:
            measured = await self._engine.load(replace(step, predicted=self._footprints.predict(step)))
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
        times = measured.took if measured.took.load_s else LoadTimes(now - began)
        self._loaded[step.digest] = now, StepStart(step.name, times, step.file_bytes)
        if len(self._loaded) > MOST_REMEMBERED:  # steps that were lost with their engine and never came back
            del self._loaded[next(iter(self._loaded))]
        self._observer.step_loaded(step, times)
        self._host.came_back(step.digest)
        charge = self._footprints.measured(step, measured, now - began)
        return StepLoaded(now, step.digest, charge, is_from_host)

    async def _unload(self, command: Unload) -> None:
        began = self._clock.now()
        self._loaded.pop(command.digest, None)
        try:
            await self._engine.unload(command.digest)
        except EngineLost:
            logger.warning("step %s: the engine died while unloading it; its memory is back", command.digest[:12])
        except Exception:
            # What cannot be unloaded cannot be waited for either; the engine's own restart frees it.
            logger.exception("step %s: could not be unloaded", command.digest[:12])
        self._observer.unloaded(command.whose, self._clock.now() - began)
        self._report(StepUnloaded(self._clock.now(), command.digest))

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
