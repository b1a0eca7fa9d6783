"""One pass over everybody who wants room: first come, first served, and nobody waits beside free room for long.

Each pass starts from scratch: archives that drain for somebody are reprieved, then every claim, in order, takes what it
needs from the pool (what is free plus what is on its way back: `pool.py`) and lets victims go for what is missing. A
claim that went away, or room that came from elsewhere, thus spares its victims without any bookkeeping. Victims are

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

Where many wait, a rush, those who wait for the same large step are looked at together: see `crowds.py`.

A group at its quota lets archives of its own go, by the same rules; who waits for that keeps no other group waiting.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Final

from server.domain.model import StagedArchive, StepDigest
from server.residency.planning.candidates import Reach
from server.residency.planning.house import House
from server.residency.planning.ledger import Room, add, fits
from server.residency.planning.pool import Pool
from server.residency.planning.quotas import GroupRooms
from server.residency.planning.records import ArchiveRecord, StepRecord
from server.residency.planning.refusal import refuse, refused_as_too_large
from server.residency.planning.states import ArchiveState

MOST_SHORT: Final = 16
"""Claims that wait for room before a pass ends, and in each group with a quota those that wait for that."""
MOST_WAITING: Final = 4 * MOST_SHORT
"""The same, those counted too whose own steps are being unloaded just now."""

MOST_SHORT_IN_A_RUSH: Final = 4
"""Then each look counts: there are many passes, and crowds do not need a wide view, since they wait for little."""
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
        self._groups = GroupRooms(house)
        self._pool = Pool(house, self._groups)
        self._free = self._inventory.ledger.free()
        self._claimed: set[StepDigest] = set()
        self._beyond_reach: set[StepDigest] = set()
        loading = self._inventory.in_state(ArchiveState.LOADING)
        self._slots = house.options.max_parallel_loads + 1 - len(loading)
        self._is_quiet = not self._inventory.is_moving and all(record.is_stalled for record in loading)
        self._blocked: list[str] = []
        """Keys of those who came first and wait for room; nobody of them is patient."""
        self._waits_long = False
        """Whether any of them waits for leases to come back, or for loads to end."""
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
        most_short = MOST_SHORT_IN_A_RUSH if waiting.is_rush else MOST_SHORT
        for archive in waiting.in_turn(self._is_line_open):
            if self._slots > 0 or not self._blocked:
                waiting.open_round(archive.key)
            self._serve(archive)
            if self._slots <= 0 and (self._short >= most_short or self._waiting >= MOST_WAITING):
                waiting.is_cut = waiting.is_urgent(archive.key)
                break
        for archive in waiting.whole_in_turn():  # however far behind
            self._serve(archive)
        if waiting.is_cut:
            for archive in waiting.small_in_turn(max(self._free.values(), default=0), MOST_TRIED):
                self._serve_small(archive)
        return self._pool.kept

    def _serve(self, archive: StagedArchive) -> None:
        """Look at one claim, once."""
        if archive.key in self._seen:
            return
        self._seen.add(archive.key)
        present = self._inventory.archives.get(archive.key)
        if present is not None and present.state is ArchiveState.RESIDENT:
            # It drained for somebody who does not need it any more.
            self._house.grant(self._house.waiting.dismiss(archive.key), present, "resident")
        elif present is None and not self._is_refused(archive) and self._has_group_room(archive):
            self._claim(archive)

    def _is_refused(self, archive: StagedArchive) -> bool:
        """Whether it can never fit. In a rush that was asked when it came, and is again when its turn has come."""
        return not (self._blocked and self._house.waiting.is_rush) and refused_as_too_large(self._house, archive)

    def _serve_small(self, archive: StagedArchive) -> None:
        """Look at a claim behind those in front: it takes what is free, and keeps nothing from anybody."""
        if archive.key in self._seen or archive.key in self._inventory.archives:
            return
        group, is_urgent = self._house.terms.of(archive.name).group, self._house.waiting.is_urgent(archive.key)
        need, own = self._inventory.sizes.need(archive), {step.digest for step in archive.steps}
        can_begin = fits(need, self._free) and not self._inventory.is_unloading(archive)
        if not is_urgent or not can_begin or self._groups.of(group) is not None:
            return
        is_covered = fits(need, self._pool.room) and own.isdisjoint(self._beyond_reach | self._pool.coming)
        if is_covered or self._may_pass(own):
            self._pool.take(need)
            for key in () if is_covered else self._blocked:
                self._house.waiting.passed(key)
            self._admit(archive)

    def _is_line_open(self, group: str) -> bool:
        """Whether to look at more archives of a group with a quota: not where many of them wait for that already."""
        return self._group_waiting.get(group, 0) < MOST_SHORT

    def _pay_back(self) -> None:
        """A measurement above its prediction overdrew a device: idle archives leave until it is within budget."""
        over = self._pool.short_of(self._pool.room)
        if over:
            self._pool.make_room(over, self._pool.candidates(None, Reach.AT_REST), "over budget", "", is_partial=True)
        for group in sorted(self._house.overdrawn):
            room = self._groups.unclaimed(group)
            if room is None or not room.missing():
                self._house.overdrawn.discard(group)
            else:
                self._pool.make_group_room(room, self._pool.candidates(None, Reach.AT_REST, group), None)

    def _retry(self, record: ArchiveRecord, step: StepRecord, extra: Room) -> None:
        """A step met an out of memory: load it again once `extra` is free, or as much of it as can be freed at all."""
        self._pool.take(extra)
        short = self._pool.short_of(extra)
        if short:
            others = self._pool.candidates(record.archive, Reach.FIRST)
            self._pool.make_room(short, others, "out of memory", record.archive.name, is_partial=True)
        lacking = self._pool.short_of(extra)
        self._pool.give_back(lacking)
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
        room = self._groups.of(group)
        if room is None:
            return True
        lack, is_urgent = room.missing(archive), self._house.waiting.is_urgent(archive.key)
        is_first = is_urgent and group not in self._groups.claims
        if lack and (is_first or self._slots > 0):
            reach = Reach.FIRST if is_first else Reach.AT_REST if is_urgent else Reach.PATIENT
            self._pool.make_group_room(room, self._pool.candidates(archive, reach, group), archive)
        still_lacking = room.missing(archive)
        if not still_lacking and room.has_room_now(archive):
            return True
        if still_lacking and is_first and not room.is_moving:  # the rest is pinned
            device = min(still_lacking)
            needed = self._inventory.sizes.total(archive).get(device, 0)
            refuse(self._house, archive, device, needed, room.limits, group)
            return False
        self._group_waiting[group] = self._group_waiting.get(group, 0) + 1
        if is_urgent:
            self._groups.claim(group, archive)
        return False

    def _claim(self, archive: StagedArchive) -> None:
        is_urgent = self._house.waiting.is_urgent(archive.key)
        is_first = is_urgent and not self._blocked
        own = {step.digest for step in archive.steps}
        pool = self._pool
        need = self._inventory.sizes.need(archive, pool.coming, self._claimed, pool.outlook)  # shared claims count once
        pool.coming -= own
        pool.take(need)
        short = pool.short_of(need)
        if short and (is_first or self._slots > 0):
            reach = Reach.FIRST if is_first else Reach.AT_REST if is_urgent else Reach.PATIENT
            pool.make_room(short, pool.candidates(archive, reach), "room", archive.name, keep=own)
        is_covered = not pool.short_of(need) and own.isdisjoint(self._beyond_reach)
        can_begin = fits(self._inventory.sizes.need(archive), self._free) and not self._inventory.is_unloading(archive)
        if is_covered and can_begin:
            self._admit(archive)
        elif is_first and not is_covered and self._is_quiet and own.issuperset(self._inventory.loose):
            pool.give_back(need)
            self._inventory.sizes.withdraw(archive, pool.outlook)
            total = self._inventory.sizes.total(archive)
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
            self._pool.kept |= set(own)
        else:  # what it shares with those who leave has to make room for those before it
            present, loose = self._inventory.steps, self._inventory.loose
            self._beyond_reach |= {each for each in own if each not in present or each in loose}

    def _admit(self, archive: StagedArchive) -> None:
        add(self._free, self._inventory.sizes.need(archive), sign=-1)
        self._house.waiting.board(archive.key)
        terms = self._house.terms.of(archive.name)
        self._inventory.admit(archive, self._house.at).terms = terms
        self._groups.changed(terms.group)
        self._slots -= 1
        self._is_quiet = False
