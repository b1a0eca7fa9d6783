"""Leases on archives, from the first request for a name to the last byte given back.

This is what the rest of the server sees. Staging happens in `staging.py`, decisions in `planner.py`, the work in
`driver.py` and `loader.py`. Use it on one event loop.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from server.domain.clock import Clock
from server.domain.errors import NotLoaded
from server.domain.model import Device, StepDigest
from server.domain.part import Part
from server.domain.ports import ArchiveSource, Engine, EngineLifecycle
from server.residency.decision_report import explained
from server.residency.disk_tenant import DiskRoom
from server.residency.driver import Driver
from server.residency.engine_upkeep import EngineUpkeep
from server.residency.forecast import Forecast
from server.residency.host import HostTier, NoHostTier
from server.residency.leases import Lease
from server.residency.leasing import Leasing
from server.residency.lending import Lending
from server.residency.memory.footprint import Footprints
from server.residency.observer import NobodyWatches, ResidencyObserver
from server.residency.options import ResidencyOptions
from server.residency.parts import parts_of
from server.residency.planning import events as e
from server.residency.planning.planner import Planner
from server.residency.planning.terms import Wish
from server.residency.prefetch.raising import Raising
from server.residency.snapshot import snapshot
from server.residency.staging import Staging
from server.telemetry.metrics import Level


class Residency:
    """Keeps the archives that are in use resident under `budgets` (bytes per device).

    `engine` must be started before the first lease, with `lost` as its callback.
    """

    def __init__(
        self,
        engine: Engine,
        source: ArchiveSource,
        budgets: Mapping[Device, int],
        clock: Clock,
        options: ResidencyOptions | None = None,
        observer: ResidencyObserver | None = None,
        lifecycle: EngineLifecycle | None = None,
        host: HostTier | None = None,
    ) -> None:
        """`lifecycle`: the engine's, to compare the ledger with what it holds, and to renew it.

        `host` keeps the files of what leaves; `None`: nobody does.
        """
        kept = host or NoHostTier()
        self._options = options or ResidencyOptions()
        self._clock = clock
        self._passing_bytes = lifecycle.passing_bytes if lifecycle is not None else dict
        self._observer: ResidencyObserver = observer or NobodyWatches()
        self._staging = Staging(source, clock, self._options.recheck_s)
        self._footprints = Footprints(engine.predict, budgets, self._options)
        self._planner = Planner(budgets, self._footprints.predict, self._options)
        self._driver = Driver(
            self._planner, engine, source, self._footprints, clock, self._observer, self._options.retry_pause_s, kept
        )
        self.raising = Raising(self._planner.house, self._staging, self._driver, kept, clock)
        """For whoever guesses what will be asked for."""
        self.disk = DiskRoom(self._driver, self._staging, clock.now)
        """For the store, to ask for room on disk."""
        self.lending = Lending(self._driver, source.current, clock, self._observer)
        """For front-end workers, who keep leases for many requests."""
        forecast = Forecast(self._planner.house, self._footprints, self._driver.loader.elapsed_s)
        self._leasing = Leasing(self._driver, self._staging, forecast, self._observer, clock, self._options)
        self._upkeep = EngineUpkeep(lifecycle, self._driver, clock, self._observer, self._options)
        self._is_closed = False
        # Looked up once: `try_lease` is on the path of every request.
        self._now = clock.now
        self._current = source.current
        self._hit = self._observer.hit
        self._count_lease = self._planner.lease
        self._give_back = self._driver.give_back

    def try_lease(self, name: str) -> Lease | None:
        """A lease at once if the archive's current content is known and resident; else `None`: call `lease`."""
        archive = self._current(name)
        if archive is None:
            return None
        record = self._count_lease(name, archive.version, self._now())
        if record is None:
            return None
        self._hit(name)
        return Lease(record, self._give_back)

    async def lease(self, name: str, timeout_s: float, patience_s: float = 0.0) -> Lease:
        """A lease, after staging and loading what is missing.

        Where the store or the new content is broken or late, content that is resident under the name serves on.

        `patience_s`: for so long the caller can wait if others would be disturbed, and its uses disturb nobody.

        Raises:
            NotReady: it takes longer than `timeout_s`, or will by what was learned, or too many wait; carries the
                predicted rest of the load.
            DeviceFull: it cannot fit, or not beside what is pinned.
            ArchiveNotFound, InvalidArchive, DiskFull, StoreUnavailable: it cannot be staged.
            LoadFailed, UnsupportedModel, EngineLost: it cannot be loaded.
        """
        if patience_s > 0:
            return await self._leasing.patient_lease(name, timeout_s, patience_s, self.try_lease)
        return await self._lease(name, timeout_s, is_use=True)

    async def preload(self, name: str) -> None:
        """Make the archive resident and leave it so, as long as there is room for it. Raises as `lease`.

        Loading is no use: until somebody asks for it, the archive counts as used an hour ago.
        """
        (await self._lease(name, self._options.preload_timeout_s, is_use=False)).release()

    async def unload(self, name: str) -> None:
        """Refuse new leases, wait for those that are out, unload, and return when the memory is back.

        Raises:
            NotLoaded: nothing of that name is resident, coming or waited for.
        """
        if not self._planner.house.knows(name):
            raise NotLoaded(name)
        await self._driver.unload(name)

    def pin(self, name: str) -> None:
        """Never choose the archive as a victim, now or once it is loaded. It is not loaded by this."""
        self._driver.tell(e.Pinned(self._now(), name))

    def unpin(self, name: str) -> None:
        """Take the pin back."""
        self._driver.tell(e.Unpinned(self._now(), name))

    def say(self, name: str, wish: Wish) -> None:
        """Say what holds for the archive from now on, until the server ends."""
        self._driver.tell(e.TermsSaid(self._now(), name, wish))

    def expire(self) -> None:
        """Let go of archives that outlived their time to live; to be called now and then where that is set."""
        self._driver.tell(e.TimePassed(self._now()))

    def lost(self, digests: Collection[StepDigest]) -> None:
        """The engine died and these steps vanished: their charge is released, their leases are void."""
        self._driver.tell(e.EngineDied(self._now(), tuple(digests)))

    def is_resident(self, name: str) -> bool:
        """Whether the archive would be served at once."""
        return self._planner.house.can_lease(name)

    def waiting_levels(self) -> Iterator[Level]:
        """How many wait, how many were turned away, and how good the predictions were, as metrics."""
        return self._leasing.log.levels(self._leasing.places)

    def resident_names(self) -> list[str]:
        """The archives that would be served at once, in no order. Cheap: no more than looking."""
        return list(self._planner.house.inventory.leasable)

    def parts(self, name: str) -> tuple[Part, ...]:
        """What the archive is made of, by what was measured; empty where nothing of it is known. Cheap."""
        record = self._planner.house.inventory.leasable.get(name)
        return parts_of(record.archive if record is not None else self._current(name), self._footprints)

    def decisions(self, name: str | None = None, limit: int | None = None) -> dict[str, Any]:
        """Why archives left and what came of it, newest first, JSON-ready; of one archive, and at most `limit`."""
        to_wall = self._clock.wall() - self._clock.now()
        return explained(self._planner.house.decisions, to_wall, name, limit)

    def snapshot(self) -> dict[str, Any]:
        """The state for people, JSON-ready."""
        shown = snapshot(self._planner.house, self._staging.stale, self._clock, self._passing_bytes())
        return self._upkeep.shown_in(shown)

    async def look(self) -> None:
        """Compare the ledger with what the engine really holds; to be called now and then."""
        await self._upkeep.watch.look()

    def renew_engine(self) -> dict[str, Any]:
        """Restart the engine as soon as no lease is out; what is resident comes back. Returns what is going to happen.

        Raises:
            UnsupportedOperation: the engine has no process of its own.
        """
        return self._upkeep.renew()

    async def close(self) -> None:
        """Refuse whoever waits, wait for leases and the engine up to `close_timeout_s`, unload everything."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._upkeep.close()
        await self._staging.close()
        self._driver.tell(e.Closed(self._now()))
        if not await self._is_emptied():
            self._driver.tell(e.Closed(self._now(), is_forced=True))
            if not await self._is_emptied():
                await self._driver.loader.cancel()
        await self._driver.loader.finish()
        if self._footprints.needs_saving:
            await asyncio.to_thread(self._footprints.write, self._footprints.take_unsaved())

    async def _lease(self, name: str, timeout_s: float, *, is_use: bool) -> Lease:
        """`is_use`: somebody asked for the archive in order to use it."""
        return self.try_lease(name) or await self._leasing.lease(name, timeout_s, is_use=is_use)

    async def _is_emptied(self) -> bool:
        """Whether everything was unloaded within the time for that."""
        try:
            async with asyncio.timeout(self._options.close_timeout_s):
                await self._driver.is_empty.wait()
        except TimeoutError:
            return False
        return True
