"""One pass over everybody who wants room: first come, first served, and nobody waits beside free room for long.

Each pass starts from scratch: archives that drain for somebody are reprieved, then every claim, in order, takes what it
needs from the pool (what is free plus what is on its way back) and lets victims go for what is missing. A claim that
went away, or room that came from elsewhere, thus spares its victims without any bookkeeping. Victims are

1. idle archives, least valuable first, those last that were loaded a moment ago (the churn guard), then
2. the older content of the same name, which otherwise serves until the new content is there;
3. for the first claim that is blocked, leased archives too: they *drain* (no new leases), so that hot archives which
   are never idle cannot starve it. Those that drained before come first, so that draining gets somewhere.

Claims beyond what can be loaded soon do not evict yet: what they would evict may serve requests until then.

Room that is coming back is kept for those who came first. Where that takes long, since leases are out, an archive that
fits at once may pass them, a few times altogether: so a large archive keeps nobody waiting for minutes, and is not
starved by small ones. Patient claims and orders come after all others and disturb nobody.

However many wait, a pass looks only at those in front: once `MOST_SHORT` of them wait for room, more than can be loaded
soon, nobody behind them may have anything evicted, and what is free is theirs. Two exceptions are left. Who needs no
room at all, since others hold every step of theirs, is found wherever they wait (`whole.py`). And who is so small as to
fit beside all of those in front, or may pass them, is found among those that lack no large step (`small.py`): a few are
looked at in each pass, and others in the next.

A group at its quota lets archives of its own go, by the same rules; who waits for that keeps no other group waiting.
"""

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Final

from server.domain.model import StagedArchive, Step, StepDigest
from server.residency.planning.candidates import Reach, candidates
from server.residency.planning.house import MOST_CONSIDERED, House, Reasons
from server.residency.planning.ledger import Room, add, fits, shortage
from server.residency.planning.quotas import GroupRoom
from server.residency.planning.records import ArchiveRecord, StepRecord
from server.residency.planning.refusal import refuse, refused_as_too_large
from server.residency.planning.states import ArchiveState
from server.residency.planning.victims import choose

MOST_SHORT: Final = 16
"""Claims that wait for room before a pass ends, and in each group with a quota those that wait for that."""
MOST_WAITING: Final = 4 * MOST_SHORT
"""The same, those counted too whose own steps are being unloaded just now."""

MOST_TRIED: Final = 8
"""Claims behind those, small enough for what is free, that a pass looks at."""


def settle_claims(house: House) -> Collection[StepDigest]:
    """One pass, where anybody wants room or has to leave. Returns the steps to keep although no archive holds them."""
    inventory = house.inventory
    house.waiting.is_cut = False
    is_over = house.overdrawn or inventory.ledger.is_over
    has_stalled = inventory.stalled and any(each.is_stalled for each in inventory.in_state(ArchiveState.LOADING))
    if house.waiting.queue or is_over or has_stalled or inventory.is_any(ArchiveState.DRAINING):
        return Claims(house).settle()
    return ()


class Claims:
    """One pass. `settle()` returns the steps that claims want to keep although no archive holds them."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._inventory = house.inventory
        self._drained_before = {record.archive.key for record in self._inventory.in_state(ArchiveState.DRAINING)}
        for record in self._inventory.in_state(ArchiveState.DRAINING):
            self._inventory.reprieve(record)
        self._coming: set[StepDigest] = set(self._inventory.loose)
        self._free = self._inventory.ledger.free()
        self._pool = self._inventory.ledger.free()
        self._outlook = self._inventory.outlook()
        """As it will be when what was decided until now has happened; the pool is what is free then."""
        add(self._pool, self._outlook.go(self._inventory.loose.values()))
        self._kept: set[StepDigest] = set()
        self._claimed: set[StepDigest] = set()
        self._beyond_reach: set[StepDigest] = set()
        loading = self._inventory.in_state(ArchiveState.LOADING)
        self._slots = house.options.max_parallel_loads + 1 - len(loading)
        self._is_quiet = not self._inventory.is_moving and all(record.is_stalled for record in loading)
        self._blocked: list[str] = []
        """Keys of those who came first and wait for room; nobody of them is patient."""
        self._waits_long = False
        """Whether any of them waits for leases to come back, or for loads to end."""
        self._groups: dict[str, GroupRoom] = {}
        self._group_claims: dict[str, dict[StepDigest, Step]] = {}
        """By group: the steps of those who wait for the group's own room."""
        self._seen: set[str] = set()
        self._waiting = 0
        """How many were looked at and have to wait."""
        self._short = 0
        """How many of them wait for room, not just for their own steps to be gone."""
        self._group_waiting: dict[str, int] = {}

    def settle(self) -> Collection[StepDigest]:
        """Serve every claim that can be served, and make room for those that cannot yet."""
        self._pay_back()
        for record in self._inventory.in_state(ArchiveState.LOADING) if self._inventory.stalled else ():
            for step in record.steps:
                if step.extra is not None and record.state is ArchiveState.LOADING:
                    self._retry(record, step, step.extra)
        waiting = self._house.waiting
        for archive in waiting.in_turn(self._is_line_open):
            self._serve(archive)
            if self._slots <= 0 and (self._short >= MOST_SHORT or self._waiting >= MOST_WAITING):
                waiting.is_cut = waiting.is_urgent(archive.key)
                break
        for archive in waiting.whole_in_turn():  # however far behind
            self._serve(archive)
        if waiting.is_cut:
            for archive in waiting.small_in_turn(max(self._free.values(), default=0), MOST_TRIED):
                self._serve_small(archive)
        return self._kept

    def _serve(self, archive: StagedArchive) -> None:
        """Look at one claim, once."""
        if archive.key in self._seen:
            return
        self._seen.add(archive.key)
        present = self._inventory.archives.get(archive.key)
        if present is not None and present.state is ArchiveState.RESIDENT:
            # It drained for somebody who does not need it any more.
            self._house.grant(self._house.waiting.dismiss(archive.key), present, "resident")
        elif present is None and not refused_as_too_large(self._house, archive) and self._has_group_room(archive):
            self._claim(archive)

    def _serve_small(self, archive: StagedArchive) -> None:
        """Look at a claim behind those in front: it takes what is free, and keeps nothing from anybody."""
        if archive.key in self._seen or archive.key in self._inventory.archives:
            return
        group, is_urgent = self._house.terms.of(archive.name).group, self._house.waiting.is_urgent(archive.key)
        need, own = self._inventory.need(archive), {step.digest for step in archive.steps}
        can_begin = fits(need, self._free) and not self._inventory.is_unloading(archive)
        if not is_urgent or not can_begin or self._group_room(group) is not None:
            return
        is_covered = fits(need, self._pool) and own.isdisjoint(self._beyond_reach)
        if is_covered or self._may_pass(own):
            add(self._pool, need, sign=-1)
            for key in () if is_covered else self._blocked:
                self._house.waiting.passed(key)
            self._admit(archive)

    def _is_line_open(self, group: str) -> bool:
        """Whether to look at more archives of a group with a quota: not where many of them wait for that already."""
        return self._group_waiting.get(group, 0) < MOST_SHORT

    def _pay_back(self) -> None:
        """A measurement above its prediction overdrew a device: idle archives leave until it is within budget."""
        over = shortage(self._pool, self._pool)
        if over:
            self._make_room(over, self._candidates(None, Reach.AT_REST), "over budget", "", is_partial=True)
        for group in sorted(self._house.overdrawn):
            limits = self._house.terms.limits(group, self._inventory.ledger.budgets)
            room = GroupRoom(self._house, group, limits, {}) if limits is not None else None
            if room is None or not room.missing():
                self._house.overdrawn.discard(group)
            else:
                self._make_group_room(room, self._candidates(None, Reach.AT_REST, group), None)

    def _retry(self, record: ArchiveRecord, step: StepRecord, extra: Room) -> None:
        """A step met an out of memory: load it again once `extra` is free, or as much of it as can be freed at all."""
        add(self._pool, extra, sign=-1)
        short = shortage(self._pool, extra)
        if short:
            others = self._candidates(record.archive, Reach.FIRST)
            self._make_room(short, others, "out of memory", record.archive.name, is_partial=True)
        lacking = shortage(self._pool, extra)
        add(self._pool, lacking)
        reachable = {device: amount - lacking.get(device, 0) for device, amount in extra.items()}
        need = {device: amount for device, amount in reachable.items() if amount > 0}
        if fits(need, self._free):
            add(self._free, need, sign=-1)
            self._inventory.grow(step, need)
            self._is_quiet = False
        else:
            self._blocked.append(record.archive.key)

    def _has_group_room(self, archive: StagedArchive) -> bool:
        """Whether its group may take the archive now; if not, make room inside the group. Groups differ: no order."""
        group = self._house.terms.of(archive.name).group
        room = self._group_room(group)
        if room is None:
            return True
        lack, is_urgent = room.missing(archive), self._house.waiting.is_urgent(archive.key)
        is_first = is_urgent and group not in self._group_claims
        if lack and (is_first or self._slots > 0):
            reach = Reach.FIRST if is_first else Reach.AT_REST if is_urgent else Reach.PATIENT
            self._make_group_room(room, self._candidates(archive, reach, group), archive)
        still_lacking = room.missing(archive)
        if not still_lacking and room.has_room_now(archive):
            return True
        if still_lacking and is_first and not room.is_moving:  # the rest is pinned
            device = min(still_lacking)
            refuse(self._house, archive, device, self._inventory.total(archive).get(device, 0), room.limits, group)
            return False
        self._group_waiting[group] = self._group_waiting.get(group, 0) + 1
        if is_urgent:
            self._group_claims.setdefault(group, {}).update({step.digest: step for step in archive.steps})
        return False

    def _claim(self, archive: StagedArchive) -> None:
        is_urgent = self._house.waiting.is_urgent(archive.key)
        is_first = is_urgent and not self._blocked
        own = {step.digest for step in archive.steps}
        need = self._inventory.need(archive, self._coming, self._claimed, self._outlook)  # shared claims count once
        self._coming -= own
        add(self._pool, need, sign=-1)
        short = shortage(self._pool, need)
        if short and (is_first or self._slots > 0):
            reach = Reach.FIRST if is_first else Reach.AT_REST if is_urgent else Reach.PATIENT
            self._make_room(short, self._candidates(archive, reach), "room", archive.name, keep=own)
        is_covered = not shortage(self._pool, need) and own.isdisjoint(self._beyond_reach)
        can_begin = fits(self._inventory.need(archive), self._free) and not self._inventory.is_unloading(archive)
        if is_covered and can_begin:
            self._admit(archive)
        elif is_first and not is_covered and self._is_quiet and own.issuperset(self._inventory.loose):
            add(self._pool, need)
            self._inventory.withdraw(archive, self._outlook)
            total = self._inventory.total(archive)
            refuse(self._house, archive, min(short), total[min(short)])  # the rest is pinned
        elif is_urgent and can_begin and self._may_pass(own):
            for key in self._blocked:
                self._house.waiting.passed(key)
            self._admit(archive)
        else:
            self._waiting += 1
            self._short += not self._inventory.is_unloading(archive)
            self._wait(archive.key, own, is_covered=is_covered, is_urgent=is_urgent)

    def _may_pass(self, own: AbstractSet[StepDigest]) -> bool:
        """Whether those who came first wait so long that room which they do not have yet may be used meanwhile."""
        passes, most = self._house.waiting.passes, self._house.options.max_passes
        return (
            self._waits_long
            and own.isdisjoint(self._inventory.loose)
            and all(passes.get(key, 0) < most for key in self._blocked)
        )

    def _wait(self, key: str, own: Collection[StepDigest], *, is_covered: bool, is_urgent: bool) -> None:
        """The claim stays in the queue, and those after it have to leave it its room."""
        is_first = is_urgent and not self._blocked
        self._slots -= 1
        self._claimed |= set(own)
        if is_urgent:
            self._blocked.append(key)
            self._waits_long = self._waits_long or not is_covered or self._inventory.is_any(ArchiveState.DRAINING)
        if is_first or is_covered:
            self._kept |= set(own)
        else:  # what it shares with those who leave has to make room for those before it
            present, loose = self._inventory.steps, self._inventory.loose
            self._beyond_reach |= {each for each in own if each not in present or each in loose}

    def _admit(self, archive: StagedArchive) -> None:
        add(self._free, self._inventory.need(archive), sign=-1)
        self._house.waiting.board(archive.key)
        terms = self._house.terms.of(archive.name)
        self._inventory.admit(archive, self._house.at).terms = terms
        self._groups.pop(terms.group, None)
        self._slots -= 1
        self._is_quiet = False

    def _candidates(
        self, archive: StagedArchive | None, reach: Reach, group: str | None = None
    ) -> Iterator[ArchiveRecord]:
        return candidates(self._house, archive, reach, self._drained_before, group)

    def _group_room(self, group: str) -> GroupRoom | None:
        """What the group may still take; `None` where it has no quota."""
        if group not in self._groups:
            limits = self._house.terms.limits(group, self._inventory.ledger.budgets)
            if limits is None:
                return None
            self._groups[group] = GroupRoom(self._house, group, limits, self._group_claims.get(group, {}))
        return self._groups[group]

    def _make_group_room(
        self, room: GroupRoom, candidates: Iterator[ArchiveRecord], archive: StagedArchive | None
    ) -> None:
        """Let archives of the group itself go, for one of them, or (`None`) until it is within its quota."""
        considered: list[ArchiveRecord] = []
        lack = room.missing(archive)
        victims = room.choose(archive, _noting(candidates, considered), is_partial=archive is None)
        keep = {step.digest for step in archive.steps} if archive is not None else set()
        for_whom = archive.name if archive is not None else ""
        self._let_go(victims, considered, "quota", for_whom, lack, self._kept | keep)

    def _make_room(
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
        kept = self._kept | set(keep)
        considered: list[ArchiveRecord] = []
        noted = _noting(candidates, considered)
        victims = choose(self._inventory, short, noted, kept, self._outlook, is_partial=is_partial)
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
            self._groups.pop(victim.terms.group, None)
            if victim.leases:
                self._inventory.drain(victim, f"{reason} for {for_whom}")
            else:
                self._house.let_go(victim, reason, reasons)
        freed = [step for digest, step in self._inventory.loose.items() if digest not in before.union(kept)]
        add(self._pool, self._outlook.go(freed))
        self._coming |= {step.step.digest for step in freed}


def _noting(records: Iterator[ArchiveRecord], noted: list[ArchiveRecord]) -> Iterator[ArchiveRecord]:
    """The records, remembering those that were looked at."""
    for record in records:
        noted.append(record)
        yield record
