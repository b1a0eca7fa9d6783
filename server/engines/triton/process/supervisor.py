"""Keeps one tritonserver running: start, watch, tell who died, wait, start again.

What a start consists of is passed in (`launch`), so this file knows neither ports nor processes.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from server.domain.clock import Clock
from server.domain.errors import EngineLost
from server.engines.triton.process.backoff import Backoff

_log = logging.getLogger("roundhouse.triton")


class Running(Protocol):
    """A started server that has answered that it is ready."""

    async def wait(self) -> int:
        """Wait for its end; returns the exit status."""
        ...

    async def stop(self) -> None:
        """End it, and free everything that belongs to it. Idempotent; also called after it died."""
        ...


RunningT = TypeVar("RunningT", bound=Running)


@dataclass(frozen=True, slots=True)
class Timing:
    """The clock and the sleep of a supervisor, replaced in tests."""

    clock: Clock
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Supervisor(Generic[RunningT]):
    """Owns the current run. `current` is `None` while there is none that could take work."""

    def __init__(
        self, launch: Callable[[], Awaitable[RunningT]], on_death: Callable[[RunningT], None], timing: Timing
    ) -> None:
        self._launch = launch
        self._on_death = on_death
        self._timing = timing
        self._backoff = Backoff()
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.current: RunningT | None = None
        self.restarts = 0
        self.renewals = 0
        """Restarts on purpose."""
        self.last_error = ""

    async def start(self) -> None:
        """Start the first run, and keep one running from then on. Raises what `launch` raises."""
        first = await self._launch()
        self._take(first)
        self._task = asyncio.create_task(self._keep_running(first))

    async def stop(self) -> None:
        """End the current run and do not start another. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        running, self.current = self.current, None
        self._up.clear()
        if running is not None:
            await running.stop()

    async def running(self, timeout_s: float) -> RunningT:
        """The current run, waiting for a restart if need be.

        Raises:
            EngineLost: none came up within `timeout_s`, or the supervisor was stopped.
        """
        if self.current is None and self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), timeout_s)
        if self.current is None:
            raise EngineLost("tritonserver is not running" + (f": {self.last_error}" if self.last_error else ""))
        return self.current

    async def renew(self, emptied: Callable[[], None], timeout_s: float) -> None:
        """End the current run on purpose, and start another; nobody is told of a death. Waits until it is up.

        `emptied` is called as soon as the old run takes no more work. Where there is no run, one is being started
        already. Raises EngineLost: none came up within `timeout_s` (it is tried on), or the supervisor was stopped.
        """
        keeper, running = self._task, self.current
        if keeper is not None and running is not None:
            self.current = None
            self._up.clear()
            emptied()
            self._task = asyncio.create_task(self._replace(keeper, running))
        await self.running(timeout_s)

    async def _replace(self, keeper: "asyncio.Task[None]", running: RunningT) -> None:
        keeper.cancel()
        await asyncio.wait({keeper})
        stopping = asyncio.ensure_future(running.stop())
        try:
            await asyncio.shield(stopping)
        finally:
            await stopping  # to its end, also where the whole server goes down meanwhile
        self.renewals += 1
        try:
            fresh = await self._launch()
        except Exception as error:
            self.last_error = str(error)
            _log.warning("tritonserver did not start: %s", error)
            fresh = await self._restart(0.0)
        else:
            self._take(fresh)
        await self._keep_running(fresh)

    async def noticed(self, running: RunningT, timeout_s: float) -> None:
        """Wait until the death of `running`, of which the caller has seen signs, has been told to everybody."""
        if self.current is running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._down.wait(), timeout_s)

    async def _keep_running(self, running: RunningT) -> None:
        while True:
            started = self._timing.clock.now()
            status = await running.wait()
            self._lose(running, status)
            await running.stop()
            running = await self._restart(self._timing.clock.now() - started)

    async def _restart(self, ran_s: float) -> RunningT:
        while True:
            wait_s = self._backoff.after_run(ran_s)
            _log.warning("tritonserver starts again in %.1f s", wait_s)
            await self._timing.sleep(wait_s)
            self.restarts += 1
            try:
                running = await self._launch()
            except Exception as error:
                self.last_error, ran_s = str(error), 0.0
                _log.warning("tritonserver did not start: %s", error)
                continue
            self._take(running)
            return running

    def _take(self, running: RunningT) -> None:
        self.current = running
        self.last_error = ""
        self._down.clear()
        self._up.set()

    def _lose(self, running: RunningT, status: int) -> None:
        self.current = None
        self._up.clear()
        self.last_error = f"it ended with status {status}"
        _log.error("tritonserver ended with status %d", status)
        self._on_death(running)
        self._down.set()
