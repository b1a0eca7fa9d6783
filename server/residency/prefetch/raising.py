"""Brings one archive one tier up, without anybody having asked for it."""

from collections.abc import Mapping

from server.domain.clock import Clock
from server.domain.model import StagedArchive, Step
from server.residency.driver import Driver
from server.residency.host import HostTier
from server.residency.planning.events import Foreseen
from server.residency.planning.foreseen import has_spare_room
from server.residency.planning.house import House
from server.residency.planning.states import ArchiveState
from server.residency.prefetch.prefetcher import Raised, Use
from server.residency.staging import Staging


class Raising:
    """Implements `prefetcher.Tiers` over the parts of residency."""

    def __init__(self, house: House, staging: Staging, driver: Driver, host: HostTier, clock: Clock) -> None:
        self._house = house
        self._staging = staging
        self._driver = driver
        self._host = host
        self._clock = clock

    def uses(self) -> Mapping[str, Use]:
        """Who may be leased now, and how often and when each was used."""
        return {
            name: Use(record.admission, record.uses, record.last_used, record.warmth)
            for name, record in self._house.inventory.leasable.items()
        }

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way in or out, and nobody waits."""
        inventory = self._house.inventory
        return not (self._house.waiting.queue or inventory.is_moving or inventory.is_any(ArchiveState.LOADING))

    async def raise_tier(self, name: str) -> Raised | None:
        """Bring the archive one tier up; `None` where that is not possible now. Raises as `ArchiveSource.stage`."""
        archive = await self._staging.stage(name, is_wanted=False)
        if archive.staged_from == "store":
            return Raised("disk", sum(step.file_bytes for step in archive.steps))
        missing = self._missing(archive)
        if self._host.is_on:
            cold = [step for step in missing if not self._host.is_kept(step.digest)]
            for step in cold:
                self._host.keep(step)
            if cold:
                return Raised("host", sum(step.file_bytes for step in cold))
        return self._load(archive, missing)

    def _load(self, archive: StagedArchive, missing: list[Step]) -> Raised | None:
        if not has_spare_room(self._house, archive):
            return None
        self._driver.tell(Foreseen(self._clock.now(), archive))
        coming = self._house.inventory.archives.get(archive.key)
        if coming is None:
            return None
        return Raised("device", sum(step.file_bytes for step in missing), coming.admission)

    def _missing(self, archive: StagedArchive) -> list[Step]:
        distinct = {step.digest: step for step in archive.steps}
        return [step for digest, step in distinct.items() if digest not in self._house.inventory.steps]
