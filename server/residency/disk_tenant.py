"""What the store may ask of residency where the files of what is in memory leave no room on disk."""

from collections.abc import Callable, Collection

from server.domain.disk_need import DiskNeed, DiskOutlook
from server.residency.driver import Driver
from server.residency.planning.disk_room import outlook
from server.residency.planning.events import DiskNeeded
from server.residency.staging import Staging


class DiskRoom:
    """Implements `server.domain.disk_need.DiskTenant` for residency."""

    def __init__(self, driver: Driver, staging: Staging, now: Callable[[], float]) -> None:
        self._driver = driver
        self._staging = staging
        self._now = now

    def is_wanted(self, names: Collection[str]) -> bool:
        """Whether somebody waits for one of them, or asked for it elsewhere."""
        return any(not self._staging.is_abandoned(name) for name in names)

    def make_room(self, need: DiskNeed) -> DiskOutlook:
        """Let go of idle archives where that makes the room."""
        self._driver.tell(DiskNeeded(self._now(), need))
        return outlook(self._driver.planner.house, need)
