"""How much a group with a quota takes, and who of its own leaves for its next archive.

A step counts in full for every group that holds it, however many groups share it, so that no group's room depends on
what others do. Like the ledger, a group is charged until the unload has finished.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from server.domain.model import Device, Footprint, StagedArchive, Step, StepDigest
from server.residency.planning.house import House
from server.residency.planning.ledger import Ledger, Room
from server.residency.planning.outlook import Outlook
from server.residency.planning.records import ArchiveRecord
from server.residency.planning.states import ArchiveState


class GroupRoom:
    """What one group may still take: bytes per device, `limits` being its quota. Made anew whenever something changed.

    `claimed`: the steps of those of the group who came first and wait.
    """

    def __init__(self, house: House, group: str, limits: Room, claimed: Mapping[StepDigest, Step]) -> None:
        self.limits = limits
        self._inventory = house.inventory
        self._claimed = claimed.values()
        self._present: set[StepDigest] = set()
        self._holders: Counter[StepDigest] = Counter()
        """Archives of the group that hold a step and stay."""
        self.is_moving = False
        """Whether room will come back, or be settled, without anybody's decision."""
        for record in self._inventory.archives.values():
            if record.terms.group == group:
                self._present.update(_digests(record))
                self._holders.update(_digests(record) if not record.is_leaving else ())
                self.is_moving = self.is_moving or record.state is not ArchiveState.RESIDENT
        for digest, step in self._inventory.loose.items():
            if not step.references and house.terms.of(step.last_holder).group == group:
                self._present.add(digest)
                self.is_moving = True

    def missing(self, archive: StagedArchive | None = None) -> Room:
        """What is lacking although everybody who leaves will be gone, and those before have taken theirs."""
        return self._lacking(self._holders, archive)

    def has_room_now(self, archive: StagedArchive) -> bool:
        """Whether the archive can be admitted without waiting for anybody to be gone."""
        return not self._beyond(self._present, archive.steps)

    def choose(
        self, archive: StagedArchive | None, candidates: Iterator[ArchiveRecord], *, is_partial: bool
    ) -> Sequence[ArchiveRecord]:
        """Pick victims so that nothing is missing, and not one more; none where all are not enough, or `is_partial`."""
        holders = self._holders.copy()
        taken: list[ArchiveRecord] = []
        lacking = self._lacking(holders, archive)
        for record in candidates:
            if not lacking:
                break
            holders.subtract(_digests(record))
            taken.append(record)
            lacking = self._lacking(holders, archive)
        if lacking and not is_partial:
            return ()
        for record in reversed(tuple(taken)):  # a later, larger victim may have made an earlier one superfluous
            holders.update(_digests(record))
            if self._lacking(holders, archive) == lacking:
                taken.remove(record)
            else:
                holders.subtract(_digests(record))
        self._holders = holders
        return taken

    def _lacking(self, holders: Counter[StepDigest], archive: StagedArchive | None) -> Room:
        steps = archive.steps if archive is not None else ()
        return self._beyond([digest for digest, held in holders.items() if held > 0], [*self._claimed, *steps])

    def _beyond(self, present: Collection[StepDigest], coming: Iterable[Step]) -> Room:
        """By how much these steps together exceed the quota."""
        ledger = self._inventory.ledger
        footprints: dict[StepDigest, Footprint] = {digest: ledger.charge_of(digest) for digest in present}
        for step in coming:
            if step.digest not in footprints:
                footprints[step.digest] = self._inventory.sizes.footprint(step)
        total = Outlook(Ledger(self.limits)).come(footprints)
        return {
            device: amount - self.limits[device] for device, amount in total.items() if amount > self.limits[device]
        }


class GroupRooms:
    """The rooms of all groups during one pass, each kept until something changes in the group."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._rooms: dict[str, GroupRoom] = {}
        self.claims: dict[str, dict[StepDigest, Step]] = {}
        """By group: the steps of those who wait for the group's own room."""

    def of(self, group: str) -> GroupRoom | None:
        """What the group may still take; `None` where it has no quota."""
        if group not in self._rooms:
            limits = self._house.terms.limits(group, self._house.inventory.ledger.budgets)
            if limits is None:
                return None
            self._rooms[group] = GroupRoom(self._house, group, limits, self.claims.get(group, {}))
        return self._rooms[group]

    def unclaimed(self, group: str) -> GroupRoom | None:
        """The same, as if nobody of the group waited."""
        limits = self._house.terms.limits(group, self._house.inventory.ledger.budgets)
        return GroupRoom(self._house, group, limits, {}) if limits is not None else None

    def claim(self, group: str, archive: StagedArchive) -> None:
        """The archive waits, first of its group or behind the first."""
        self.claims.setdefault(group, {}).update({step.digest: step for step in archive.steps})

    def changed(self, group: str) -> None:
        """An archive of the group came or left."""
        self._rooms.pop(group, None)


def over_quota(limits: Mapping[Device, int], total: Room) -> Device | None:
    """The device on which an archive alone is larger than the quota, if there is one."""
    return next((device for device, amount in sorted(total.items()) if amount > limits[device]), None)


def _digests(record: ArchiveRecord) -> list[StepDigest]:
    return [step.step.digest for step in record.steps]
