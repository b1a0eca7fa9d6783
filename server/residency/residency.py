"""Leases on archives, from the first request for a name to the last byte given back.

This is what the rest of the server sees. Staging happens in `staging.py`, decisions in `planner.py`, the work in
`driver.py` and `loader.py`. Use it on one event loop.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from server.domain.clock import Clock
from server.domain.errors import ArchiveNotFound, NotLoaded, NotReady, RoundhouseError
from server.domain.model import Device, StagedArchive, StepDigest
from server.domain.ports import ArchiveSource, Engine
from server.residency import events as e
from server.residency.driver import Driver
from server.residency.footprint import Footprints
from server.residency.forecast import Forecast
from server.residency.leases import Lease
from server.residency.observer import NobodyWatches, ResidencyObserver
from server.residency.options import ResidencyOptions
from server.residency.planner import Planner
from server.residency.snapshot import snapshot
from server.residency.staging import Staging


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
        passing_bytes: Callable[[], Mapping[Device, int]] = dict,
    ) -> None:
        """`passing_bytes`: what the engine's loads may hold for a moment above what they are charged with."""
        self._options = options or ResidencyOptions()
        self._clock = clock
        self._passing_bytes = passing_bytes
        self._observer: ResidencyObserver = observer or NobodyWatches()
        self._staging = Staging(source, clock, self._options.recheck_s)
        self._footprints = Footprints(engine.predict, budgets, self._options)
        self._planner = Planner(budgets, self._footprints.predict, self._options)
        self._driver = Driver(
            self._planner, engine, source, self._footprints, clock, self._observer, self._options.retry_pause_s
        )
        self._forecast = Forecast(self._planner.house, self._footprints, self._driver.loader.elapsed_s)
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

    async def lease(self, name: str, timeout_s: float) -> Lease:
        """A lease, after staging and loading what is missing.

        Where the store or the new content is broken or late, content that is resident under the name serves on.

        Raises:
            NotReady: it would take longer than `timeout_s`; carries the predicted rest of the load.
            DeviceFull: it cannot fit, or not beside what is pinned.
            ArchiveNotFound, InvalidArchive, DiskFull, StoreUnavailable: it cannot be staged.
            LoadFailed, UnsupportedModel, EngineLost: it cannot be loaded.
        """
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

    def expire(self) -> None:
        """Let go of archives that outlived `time_to_live_s`; to be called now and then where that is set."""
        self._driver.tell(e.TimePassed(self._now()))

    def lost(self, digests: Collection[StepDigest]) -> None:
        """The engine died and these steps vanished: their charge is released, their leases are void."""
        self._driver.tell(e.EngineDied(self._now(), tuple(digests)))

    def resident_names(self) -> list[str]:
        """The archives that would be served at once, in no order. Cheap: no more than looking."""
        return list(self._planner.house.inventory.leasable)

    def snapshot(self) -> dict[str, Any]:
        """The state for people, JSON-ready."""
        return snapshot(self._planner.house, self._staging.stale, self._clock, self._passing_bytes())

    async def close(self) -> None:
        """Refuse whoever waits, wait for leases and the engine up to `close_timeout_s`, unload everything."""
        if self._is_closed:
            return
        self._is_closed = True
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
        lease = self.try_lease(name) or (self._lease_old(name) if self._staging.is_stale(name) else None)
        if lease is not None:
            return lease
        began, archive = self._now(), None
        try:
            async with asyncio.timeout(timeout_s):
                archive = await self._stage(name)
                lease = self._lease_old(name) if archive is None else await self._driver.wait(archive, is_use=is_use)
        except TimeoutError:
            lease = self._lease_old(name)
        if lease is None:
            raise NotReady(name, self._forecast.retry_after_s(archive))
        lease.waited_s = self._now() - began
        return lease

    async def _stage(self, name: str) -> StagedArchive | None:
        """The current content; `None` where that cannot be said and something resident can serve on."""
        try:
            return await self._staging.stage(name)
        except ArchiveNotFound:
            self._driver.tell(e.Deleted(self._now(), name))
            raise
        except RoundhouseError as error:
            self._observer.failed(name, type(error).__name__)
            if not self._planner.house.can_lease(name):
                raise
            self._staging.keep_stale(name, error)
            return None

    def _lease_old(self, name: str) -> Lease | None:
        """A lease on whatever content of the archive is resident."""
        record = self._count_lease(name, None, self._now())
        if record is None:
            return None
        self._hit(name)
        return Lease(record, self._give_back)

    async def _is_emptied(self) -> bool:
        """Whether everything was unloaded within the time for that."""
        try:
            async with asyncio.timeout(self._options.close_timeout_s):
                await self._driver.is_empty.wait()
        except TimeoutError:
            return False
        return True
