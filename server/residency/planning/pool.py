"""Room as it will be in a pass of `claims.py`: what is free, plus what is on its way back; and who leaves to fill it.

Leased archives leave by draining, the others at once. Who else was considered is put on record.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from server.domain.model import Device, StagedArchive, StepDigest
from server.residency.planning.candidates import Reach, candidates
from server.residency.planning.house import MOST_CONSIDERED, House, Reasons
from server.residency.planning.ledger import Room, add, shortage
from server.residency.planning.quotas import GroupRoom, GroupRooms
from server.residency.planning.records import ArchiveRecord
from server.residency.planning.states import ArchiveState
from server.residency.planning.victims import choose


class Pool:
    """Begins with everybody reprieved who drains, so that each claim of the pass decides afresh who leaves."""

    def __init__(self, house: House, groups: GroupRooms) -> None:
        self._house = house
        self._inventory = house.inventory
        self._groups = groups
        self._drained_before = {record.archive.key for record in self._inventory.in_state(ArchiveState.DRAINING)}
        for record in self._inventory.in_state(ArchiveState.DRAINING):
            self._inventory.reprieve(record)
        self.coming: set[StepDigest] = set(self._inventory.loose)
        """Steps whose memory is on its way back, and that nobody has claimed."""
        self.room = self._inventory.ledger.free()
        """What is left, less than nothing where claims are not covered yet."""
        self.outlook = self._inventory.outlook()
        """As it will be when what was decided until now has happened; the pool is what is free then."""
        add(self.room, self.outlook.go(self._inventory.loose.values()))
        self.kept: set[StepDigest] = set()
        """Steps that those who came first want to keep although no archive holds them."""

    def take(self, need: Room) -> None:
        """Somebody claims so much, whether it is there or not."""
        add(self.room, need, sign=-1)

    def give_back(self, need: Room) -> None:
        """Somebody does not claim so much after all."""
        add(self.room, need)

    def short_of(self, devices: Iterable[Device]) -> Room:
        """What is missing on these devices for all claims until now."""
        return shortage(self.room, devices)

    def candidates(
        self, archive: StagedArchive | None, reach: Reach, group: str | None = None
    ) -> Iterator[ArchiveRecord]:
        """Who may leave for the archive, in order; see `candidates.py`."""
        return candidates(self._house, archive, reach, self._drained_before, group)

    def make_group_room(
        self, room: GroupRoom, candidates: Iterator[ArchiveRecord], archive: StagedArchive | None
    ) -> None:
        """Let archives of the group itself go, for one of them, or (`None`) until it is within its quota."""
        considered: list[ArchiveRecord] = []
        lack = room.missing(archive)
        victims = room.choose(archive, _noting(candidates, considered), is_partial=archive is None)
        keep = {step.digest for step in archive.steps} if archive is not None else set()
        for_whom = archive.name if archive is not None else ""
        self._let_go(victims, considered, "quota", for_whom, lack, self.kept | keep)

    def make_room(
        self,
        short: Room,
        candidates: Iterator[ArchiveRecord],
        reason: str,
        for_whom: str,
        keep: Collection[StepDigest] = (),
        *,
        is_partial: bool = False,
    ) -> None:
        """Let victims go: idle ones at once, leased ones as soon as their leases are back."""
        kept = self.kept | set(keep)
        considered: list[ArchiveRecord] = []
        noted = _noting(candidates, considered)
        victims = choose(self._inventory, short, noted, kept, self.outlook, is_partial=is_partial)
        considered += islice(candidates, max(0, MOST_CONSIDERED - len(considered))) if victims else ()
        self._let_go(victims, considered, reason, for_whom, short, kept)

    def _let_go(
        self,
        victims: Sequence[ArchiveRecord],
        considered: Sequence[ArchiveRecord],
        reason: str,
        for_whom: str,
        short: Room,
        kept: Collection[StepDigest],
    ) -> None:
        if not victims:
            return
        reasons = Reasons(for_whom, short, self._house.consider(considered, victims))
        before = set(self._inventory.loose)
        for victim in victims:
            self._groups.changed(victim.terms.group)
            if victim.leases:
                self._inventory.drain(victim, f"{reason} for {for_whom}")
            else:
                self._house.let_go(victim, reason, reasons)
        freed = [step for digest, step in self._inventory.loose.items() if digest not in before.union(kept)]
        add(self.room, self.outlook.go(freed))
        self.coming |= {step.step.digest for step in freed}


def _noting(records: Iterator[ArchiveRecord], noted: list[ArchiveRecord]) -> Iterator[ArchiveRecord]:
    """The records, remembering those that were looked at."""
    for record in records:
        noted.append(record)
        yield record
