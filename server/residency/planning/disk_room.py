"""Room on disk, as a rule of the planner: who lets go of its files where an archive cannot be staged beside them.

Only archives that nobody uses leave for that, which are not pinned and did not come a moment ago, those of least value
first, of the same priority or a lower one; and only if together they free what is missing, after all that is leaving
already. Whatever a waiting or staying archive needs as well is not freed by them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from server.domain.disk_need import DiskNeed, DiskOutlook
from server.domain.model import StepDigest
from server.residency.planning import events as e
from server.residency.planning.candidates import Reach, candidates
from server.residency.planning.house import MOST_CONSIDERED, House, Reasons
from server.residency.planning.records import ArchiveRecord

DISK: Final = "disk"
"""Names the disk cache where room is otherwise counted by device."""


class Shelf:
    """The protected files, and what leaves with whom. Changes nothing but itself."""

    def __init__(self, house: House, need: DiskNeed) -> None:
        self._files = need.files
        self._links = Counter(file for files in need.files.values() for file in files)
        self._holders: dict[StepDigest, int] = {}
        self.freed_bytes = 0
        queued = {step.digest for archive in house.waiting.queue.values() for step in archive.steps}
        steps = house.inventory.steps
        for digest in need.files:
            holders = steps[digest].holders if digest in steps else 0
            self._holders[digest] = holders + (digest in queued) + (digest in need.busy)
            if not self._holders[digest]:
                self._turn(digest, +1)

    def take(self, record: ArchiveRecord) -> None:
        """An archive that stays, or that comes, leaves."""
        for step in record.steps:
            digest = step.step.digest
            if digest in self._holders:
                self._holders[digest] -= 1
                if not self._holders[digest]:
                    self._turn(digest, +1)

    def spare(self, record: ArchiveRecord) -> None:
        """It stays after all."""
        for step in record.steps:
            digest = step.step.digest
            if digest in self._holders:
                if not self._holders[digest]:
                    self._turn(digest, -1)
                self._holders[digest] += 1

    def _turn(self, digest: StepDigest, by: int) -> None:
        for file, size in self._files[digest].items():
            if by < 0 and not self._links[file]:
                self.freed_bytes -= size
            self._links[file] -= by
            if by > 0 and not self._links[file]:
                self.freed_bytes += size


def disk_needed(house: House, event: e.DiskNeeded) -> None:
    """Let archives go until there is room on disk, if that can be had; what is leaving already counts."""
    shelf = Shelf(house, event.need)
    if house.is_closed or house.renewal is not None or shelf.freed_bytes >= event.need.missing_bytes:
        return
    missing = event.need.missing_bytes - shelf.freed_bytes
    considered: list[ArchiveRecord] = []
    victims = _choose(shelf, _at_rest(house, event.need), event.need.missing_bytes, considered)
    seen = house.consider(considered[:MOST_CONSIDERED], victims)
    for victim in victims:
        house.let_go(victim, "room on disk", Reasons(event.need.name, {DISK: missing}, seen))


def outlook(house: House, need: DiskNeed) -> DiskOutlook:
    """Whether the room is coming, or may come once others leave who use theirs, or want to."""
    if house.is_closed:
        return DiskOutlook.NEVER
    if Shelf(house, need).freed_bytes >= need.missing_bytes:
        return DiskOutlook.COMING
    pinned = {
        step.step.digest
        for record in house.inventory.archives.values()
        if house.is_pinned(record)
        for step in record.steps
    }
    stays = {file for digest in pinned for file in need.files.get(digest, ())}
    others = {file: size for files in need.files.values() for file, size in files.items() if file not in stays}
    return DiskOutlook.MAYBE if sum(others.values()) >= need.missing_bytes else DiskOutlook.NEVER


def _at_rest(house: House, need: DiskNeed) -> Iterator[ArchiveRecord]:
    """Who may leave, least valuable first. The older content of what is wanted serves until the newer is there."""
    own = max(house.terms.of(name).priority for name in [need.name, *need.names])
    for record in candidates(house, None, Reach.AT_REST, ()):
        is_new = record.resident_since > house.guarded_from
        if not is_new and record.terms.priority <= own and record.archive.name not in need.names:
            yield record


def _choose(
    shelf: Shelf, order: Iterable[ArchiveRecord], missing_bytes: int, considered: list[ArchiveRecord]
) -> Sequence[ArchiveRecord]:
    """Those that free what is missing, and not one more; nobody where all of them do not."""
    taken = considered
    for record in order:
        if shelf.freed_bytes >= missing_bytes:
            break
        shelf.take(record)
        taken.append(record)
    if shelf.freed_bytes < missing_bytes:
        return ()
    victims: list[ArchiveRecord] = []
    for record in reversed(taken):
        shelf.spare(record)
        if shelf.freed_bytes < missing_bytes:
            shelf.take(record)
            victims.append(record)
    return victims[::-1]


RULES: Final[Mapping[type[Any], Callable[[House, Any], None]]] = {e.DiskNeeded: disk_needed}
