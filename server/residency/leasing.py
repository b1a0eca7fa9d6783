"""From a name to a lease for who can wait: a place in the waiting room, staging, a prediction, the wait itself."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from server.domain.clock import Clock
from server.domain.errors import ArchiveNotFound, NotReady, RoundhouseError
from server.domain.model import StagedArchive
from server.residency.driver import Driver
from server.residency.forecast import Forecast
from server.residency.leases import Lease
from server.residency.observer import ResidencyObserver
from server.residency.options import ResidencyOptions
from server.residency.places import Places
from server.residency.planning import events as e
from server.residency.staging import Staging
from server.residency.wait_log import WaitLog

ORDER_LASTS: Final = 3.0
"""What a caller could not wait for is loaded if there is room for it within so many times its predicted wait."""

ASK_AGAIN_S: Final = 1.0


class Leasing:
    """Leases archives that are not resident, or not known to be up to date."""

    def __init__(
        self,
        driver: Driver,
        staging: Staging,
        forecast: Forecast,
        observer: ResidencyObserver,
        clock: Clock,
        options: ResidencyOptions,
    ) -> None:
        self._driver = driver
        self._house = driver.planner.house
        self._staging = staging
        self._forecast = forecast
        self._observer = observer
        self._now: Callable[[], float] = clock.now
        self._options = options
        self.places = Places(options.max_waiting, options.max_waiting_per_archive)
        self.log = WaitLog()

    async def lease(self, name: str, timeout_s: float, *, is_use: bool, patience_s: float = 0.0) -> Lease:
        """A lease, after staging and loading what is missing. Raises as `Residency.lease`.

        `is_use`: somebody asked for the archive in order to use it. `patience_s`: for so long it disturbs nobody.
        """
        lease = self._lease_old(name) if self._staging.is_stale(name) else None
        if lease is not None:
            return lease
        if not is_use or patience_s:
            return await self._waited(name, timeout_s, is_use=is_use, patience_s=patience_s)
        if not self.places.take(name):
            return self._old_or_turned_away(name)
        try:
            return await self._waited(name, timeout_s, is_use=True, patience_s=0.0)
        finally:
            self.places.leave(name)

    async def patient_lease(
        self, name: str, timeout_s: float, patience_s: float, try_lease: Callable[[str], Lease | None]
    ) -> Lease:
        """The same for who can wait `patience_s`, during which nobody is disturbed. Raises as `Residency.lease`."""
        record = self._house.inventory.leasable.get(name)
        used_at = record.urgently_used_at if record is not None else 0.0
        lease = try_lease(name)
        if lease is None:
            lease, used_at = await self.lease(name, timeout_s, is_use=True, patience_s=patience_s), 0.0
        lease.be_patient(used_at)
        return lease

    async def _waited(self, name: str, timeout_s: float, *, is_use: bool, patience_s: float) -> Lease:
        began, archive, lease = self._now(), None, None
        try:
            async with asyncio.timeout(timeout_s):
                archive = await self._stage(name)
                if archive is None or (is_use and self._is_hopeless(archive, began + timeout_s - self._now())):
                    lease = self._lease_old(name)
                else:
                    lease = await self._granted(archive, is_use=is_use, patience_s=patience_s)
        except TimeoutError:
            lease = self._lease_old(name)
        if lease is None:
            raise NotReady(name, self._forecast.retry_after_s(archive))
        lease.waited_s = self._now() - began
        return lease

    def _is_hopeless(self, archive: StagedArchive, left_s: float) -> bool:
        """Whether to turn the caller away at once; then the archive is ordered, for when the caller comes back."""
        wait = self._forecast.wait(archive)
        if not wait.is_hopeless(left_s, self._options.wait_margin):
            return False
        now = self._now()
        self._driver.tell(e.Ordered(now, archive, now + ORDER_LASTS * wait.learned_s))
        self.log.refused_ahead += not self._house.can_lease(archive.name)
        return True

    async def _granted(self, archive: StagedArchive, *, is_use: bool, patience_s: float) -> Lease:
        began, predicted = self._now(), self._forecast.wait(archive)
        if patience_s:
            with suppress(TimeoutError):
                return await self._granted_to_the_patient(archive, patience_s)
        lease = await self._driver.wait(archive, is_use=is_use)
        self.log.note(predicted, self._now() - began)
        return lease

    async def _granted_to_the_patient(self, archive: StagedArchive, patience_s: float) -> Lease:
        """Raises TimeoutError when the patience ends."""
        asking = asyncio.create_task(self._ask_again())
        try:
            async with asyncio.timeout(patience_s):
                return await self._driver.wait(archive, is_patient=True)
        finally:
            asking.cancel()

    async def _ask_again(self) -> None:
        """What others used becomes idle without an event."""
        while True:
            await asyncio.sleep(self._options.spare_s or ASK_AGAIN_S)
            self._driver.tell(e.Idle(self._now()))

    def _old_or_turned_away(self, name: str) -> Lease:
        """Where there is no place to wait: what is resident, if anything is. Raises NotReady."""
        lease = self._lease_old(name)
        if lease is not None:
            return lease
        self.log.refused_full += 1
        wanted = next(iter(self._house.waiting.named(name)), None)
        raise NotReady(name, self._forecast.retry_after_s(wanted))

    async def _stage(self, name: str) -> StagedArchive | None:
        """The current content; `None` where that cannot be said and something resident can serve on."""
        try:
            return await self._staging.stage(name)
        except ArchiveNotFound:
            self._driver.tell(e.Deleted(self._now(), name))
            raise
        except RoundhouseError as error:
            self._observer.failed(name, type(error).__name__)
            if not self._house.can_lease(name):
                returning = self._house.returning(name)
                if returning is None:
                    raise
                return returning.archive  # its engine is being renewed: to be waited for
            self._staging.keep_stale(name, error)
            return None

    def _lease_old(self, name: str) -> Lease | None:
        """A lease on whatever content of the archive is resident."""
        record = self._driver.planner.lease(name, None, self._now())
        if record is None:
            return None
        self._observer.hit(name)
        return Lease(record, self._driver.give_back)
