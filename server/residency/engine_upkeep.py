"""What keeps an engine sound over a long life: it is measured, its leaks are told, and it is renewed."""

import asyncio
from typing import Any

from server.domain.clock import Clock
from server.domain.errors import UnsupportedOperation
from server.domain.ports import EngineLifecycle
from server.domain.sighting import Sighting
from server.residency.driver import Driver
from server.residency.memory.watch import MemoryWatch
from server.residency.observer import ResidencyObserver
from server.residency.options import ResidencyOptions
from server.residency.planning.states import ArchiveState
from server.residency.renewing import Renewing


class EngineUpkeep:
    """Joins the watch, the renewal and the driver that they work through."""

    def __init__(
        self,
        lifecycle: EngineLifecycle | None,
        driver: Driver,
        clock: Clock,
        observer: ResidencyObserver,
        options: ResidencyOptions,
    ) -> None:
        """`lifecycle`: the engine's. `None`: it is neither measured nor renewed."""
        self._lifecycle = lifecycle
        self._house = driver.planner.house
        self._options = options
        self.watch = MemoryWatch(self._observe, self._house, clock, observer, options.leak_alarm, self._leaks)
        self._renewing = Renewing(
            self._renew, self._house, driver.tell, clock, options.renewal_drain_s, self.watch.forget
        )
        driver.renew = self._renewing.restart
        if lifecycle is not None:
            driver.moved = self.watch.look_soon

    def renew(self) -> dict[str, Any]:
        """Begin a renewal. Returns what is going to happen, JSON-ready. Raises UnsupportedOperation."""
        if self._lifecycle is None or not self._lifecycle.can_renew:
            raise UnsupportedOperation("the embedded engine is part of the server's own process: restart the server")
        residents = self._house.inventory.in_state(ArchiveState.RESIDENT, ArchiveState.DRAINING)
        leases = sum(record.leases - record.quiet for record in self._house.inventory.archives.values())
        self._renewing.begin()
        return {
            "leases_out": leases,
            "drain_timeout_s": self._options.renewal_drain_s,
            "comes_back": sorted({record.archive.name for record in residents}),
        }

    def shown_in(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        """The state for people, with what is known of the engine's memory and of its renewals."""
        for device, facts in self.watch.facts().items():
            snapshot["devices"].setdefault(device, {}).update(facts)
        snapshot["renewal"] = {
            "phase": str(self._house.renewal) if self._house.renewal else None,
            "renewals": self._renewing.count,
            "last_took_s": round(self._renewing.took_s, 3),
        }
        return snapshot

    async def close(self) -> None:
        """Neither measure nor renew any more."""
        await asyncio.gather(self.watch.close(), self._renewing.close())

    async def _observe(self) -> Sighting | None:
        return await self._lifecycle.observe() if self._lifecycle is not None else None

    async def _renew(self) -> None:
        if self._lifecycle is not None:
            await self._lifecycle.renew()

    def _leaks(self) -> None:
        if self._options.renews_engine and self._lifecycle is not None and self._lifecycle.can_renew:
            self._renewing.begin_for_a_leak()
