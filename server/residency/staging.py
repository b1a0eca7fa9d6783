"""Staging for many callers: one flight per name, which goes on when a caller gives up."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from server.domain.clock import Clock
from server.domain.errors import RoundhouseError
from server.domain.model import StagedArchive
from server.domain.ports import ArchiveSource


@dataclass(frozen=True, slots=True)
class Stale:
    """Why the source could not say what the current content is. `until` (monotonic s) nobody need ask again."""

    error: RoundhouseError
    until: float


class Staging:
    """Asks the source, once per name at a time. A caller who is cancelled leaves; the work stays.

    `stale` lists the archives that serve what is resident because the store is down or holds broken content.
    """

    def __init__(self, source: ArchiveSource, clock: Clock, recheck_s: float) -> None:
        self._source = source
        self._clock = clock
        self._recheck_s = recheck_s
        self._flights: dict[str, asyncio.Task[StagedArchive]] = {}
        self._callers: Counter[str] = Counter()
        self.stale: dict[str, Stale] = {}

    def is_stale(self, name: str) -> bool:
        """Whether staging failed so lately that what is resident should serve without asking."""
        stale = self.stale.get(name)
        return stale is not None and self._clock.now() < stale.until

    def keep_stale(self, name: str, error: RoundhouseError) -> None:
        """What is resident serves on although staging failed."""
        now = self._clock.now()
        self.stale = {other: stale for other, stale in self.stale.items() if now < stale.until}
        self.stale[name] = Stale(error, now + self._recheck_s)

    def is_abandoned(self, name: str) -> bool:
        """Whether it is being staged, and everybody who wanted it has left."""
        return name in self._flights and not self._callers[name]

    async def stage(self, name: str, *, is_wanted: bool = True) -> StagedArchive:
        """The current content of the archive. Raises as `ArchiveSource.stage`.

        `is_wanted`: somebody needs it, as opposed to may need it later.
        """
        archive = self._source.claim(name)
        if archive is None:
            self._callers[name] += is_wanted
            try:
                archive = await asyncio.shield(self._flight(name))
            finally:
                self._callers[name] -= is_wanted
                if not self._callers[name]:
                    del self._callers[name]
        self.stale.pop(name, None)
        return archive

    async def close(self) -> None:
        """Cancel what is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _flight(self, name: str) -> asyncio.Task[StagedArchive]:
        flight = self._flights.get(name)
        if flight is None:
            flight = asyncio.create_task(self._source.stage(name), name=f"stage {name}")
            self._flights[name] = flight
            flight.add_done_callback(lambda done: self._land(name, done))
        return flight

    def _land(self, name: str, flight: asyncio.Task[StagedArchive]) -> None:
        del self._flights[name]
        if not flight.cancelled():
            flight.exception()  # every caller may have left; then nobody else looks at it
