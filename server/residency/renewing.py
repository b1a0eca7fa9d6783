"""Does a planned restart of the engine: bounds the drain, restarts, tells the planner. The rules: `renewal.py`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from server.domain.clock import Clock
from server.residency.planning import events as e
from server.residency.planning.house import House

_log = logging.getLogger(__name__)
PAUSE_S: Final = 60.0
"""After a drain that was called off; who waited meanwhile must get a turn."""
REST_S: Final = 600.0
"""Between two renewals that nobody asked for: an engine that leaks so fast needs a person."""


class Renewing:
    """The hands of a renewal. Lives on one event loop."""

    def __init__(
        self,
        renew: Callable[[], Awaitable[None]],
        house: House,
        tell: Callable[[e.Event], None],
        clock: Clock,
        drain_s: float,
        on_renewed: Callable[[], None],
    ) -> None:
        """`drain_s`: how long leases may take to come back; meanwhile others wait for theirs."""
        self._renew = renew
        self._house = house
        self._tell = tell
        self._clock = clock
        self._drain_s = drain_s
        self._on_renewed = on_renewed
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_drained, self._is_up = asyncio.Event(), asyncio.Event()
        self._is_coming = False
        self._renewed_at: float | None = None
        self.count = 0
        self.took_s = 0.0
        """Of the last one: from the first lease that was held back until the engine was up."""

    def begin(self) -> None:
        """Restart the engine once, if its leases come back in time. Does nothing while that is under way."""
        if self._house.renewal is None:
            self._run(self._try())

    def begin_for_a_leak(self) -> None:
        """Restart the engine, however often it has to be tried."""
        if not self._is_coming:
            self._is_coming = True
            self._run(self._try_on())

    def restart(self) -> None:
        """The planner says that nobody uses the engine."""
        self._is_drained.set()
        self._run(self._restart())

    async def close(self) -> None:
        """Try no more, and wait for a restart that is under way."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _try_on(self) -> None:
        try:
            before = self.count
            while self.count == before:
                if self._renewed_at is not None:
                    await asyncio.sleep(max(0.0, self._renewed_at + REST_S - self._clock.now()))
                await self._try()
                if self.count == before:
                    await asyncio.sleep(PAUSE_S)
        finally:
            self._is_coming = False

    async def _try(self) -> None:
        began = self._clock.now()
        self._is_drained, self._is_up = asyncio.Event(), asyncio.Event()
        _log.info("the engine is going to be renewed; requests wait until it is")
        self._tell(e.RenewalWanted(began))
        try:
            async with asyncio.timeout(self._drain_s):
                await self._is_drained.wait()
        except TimeoutError:
            _log.warning("the engine is not renewed: requests still run on it after %g s", self._drain_s)
            self._tell(e.RenewalCalledOff(self._clock.now()))
            return
        await self._is_up.wait()
        self.took_s = self._clock.now() - began

    async def _restart(self) -> None:
        try:
            await self._renew()
        except Exception:
            _log.exception("the engine could not be restarted; it is used as it is")
        self.count += 1
        self._renewed_at = self._clock.now()
        self._on_renewed()
        self._tell(e.EngineRenewed(self._renewed_at))
        self._is_up.set()
        _log.info("the engine is renewed; what was resident is loaded again")

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="renew the engine")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
