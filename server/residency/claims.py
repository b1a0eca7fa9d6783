"""One pass over everybody who wants room: first come, first served, and nobody waits beside free room.

Each pass starts from scratch: archives that drain for somebody are reprieved, then every claim, in order, takes what it
needs from the pool (what is free plus what is on its way back) and lets victims go for what is missing. A claim that
went away, or room that came from elsewhere, thus spares its victims without any bookkeeping. Victims are

1. idle archives, least valuable first, those last that were loaded a moment ago (the churn guard), then
2. the older content of the same name, which otherwise serves until the new content is there;
3. for the first claim that is blocked, leased archives too: they *drain* (no new leases), so that hot archives which
   are never idle cannot starve it. Those that drained before come first, so that draining gets somewhere.

Claims beyond what can be loaded soon do not evict yet: what they would evict may serve requests until then.
"""

from collections.abc import Collection, Iterator
from itertools import chain, islice

from server.domain.errors import DeviceFull
from server.domain.model import Device, StagedArchive, StepDigest
from server.residency.house import MOST_CONSIDERED, House, Reasons
from server.residency.ledger import Room, add, fits, shortage
from server.residency.records import ArchiveRecord, StepRecord
from server.residency.states import ArchiveState
from server.residency.victims import choose

IDLE, GUARDED, OLD_CONTENT, OLD_IN_USE, DRAINED, IN_USE = range(6)
"""Ranks of candidates: who of a lower rank can leave leaves first."""


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
        add(self._pool, self._inventory.charge_of(self._inventory.loose.values()))
        self._kept: set[StepDigest] = set()
        self._claimed: set[StepDigest] = set()
        self._beyond_reach: set[StepDigest] = set()
        loading = self._inventory.in_state(ArchiveState.LOADING)
        self._slots = house.options.max_parallel_loads + 1 - len(loading)
        self._is_quiet = not self._inventory.is_moving and all(record.is_stalled for record in loading)
        self._is_blocked = False

    def settle(self) -> Collection[StepDigest]:
        """Serve every claim that can be served, and make room for those that cannot yet."""
        self._pay_back()
        for record in self._inventory.in_state(ArchiveState.LOADING):
            for step in record.steps:
                if step.extra is not None and record.state is ArchiveState.LOADING:
                    self._retry(record, step, step.extra)
        for key, archive in list(self._house.waiting.queue.items()):
            present = self._inventory.archives.get(key)
            if present is None:
                self._claim(archive)
            elif present.state is ArchiveState.RESIDENT:  # it drained for somebody who does not need it any more
                self._house.grant(self._house.waiting.dismiss(key), present, "resident")
        return self._kept

    def _pay_back(self) -> None:
        """A measurement above its prediction overdrew a device: idle archives leave until it is within budget."""
        over = shortage(self._pool, self._pool)
        if over:
            self._make_room(over, self._candidates(None, has_busy=False), "over budget", "", is_partial=True)

    def _retry(self, record: ArchiveRecord, step: StepRecord, extra: Room) -> None:
        """A step met an out of memory: load it again once `extra` is free, or as much of it as can be freed at all."""
        add(self._pool, extra, sign=-1)
        short = shortage(self._pool, extra)
        if short:
            candidates = self._candidates(record.archive, has_busy=True)
            self._make_room(short, candidates, "out of memory", record.archive.name, is_partial=True)
        lacking = shortage(self._pool, extra)
        add(self._pool, lacking)
        reachable = {device: amount - lacking.get(device, 0) for device, amount in extra.items()}
        need = {device: amount for device, amount in reachable.items() if amount > 0}
        if fits(need, self._free):
            add(self._free, need, sign=-1)
            self._inventory.grow(step, need)
            self._is_quiet = False
        else:
            self._is_blocked = True

    def _claim(self, archive: StagedArchive) -> None:
        total, budgets = self._inventory.total(archive), self._inventory.ledger.budgets
        for device, amount in total.items():
            if amount > budgets[device]:
                self._refuse(archive, device, amount)
                return
        own = {step.digest for step in archive.steps}
        need = self._inventory.need(archive, besides=self._coming, but=self._claimed)  # shared claims count once
        self._coming -= own
        add(self._pool, need, sign=-1)
        short = shortage(self._pool, need)
        is_first = not self._is_blocked
        if short and (is_first or self._slots > 0):
            candidates = self._candidates(archive, has_busy=is_first)
            self._make_room(short, candidates, "room", archive.name, keep=own)
        is_covered = not shortage(self._pool, need) and own.isdisjoint(self._beyond_reach)
        if is_covered and fits(self._inventory.need(archive), self._free) and not self._inventory.is_unloading(archive):
            self._admit(archive)
        elif is_first and not is_covered and self._is_quiet and own.issuperset(self._inventory.loose):
            add(self._pool, need)
            self._refuse(archive, min(short), total[min(short)])  # the rest is pinned
        else:
            self._is_blocked = True
            self._slots -= 1
            self._claimed |= own
            if is_first or is_covered:
                self._kept |= own
            else:  # what it shares with those who leave has to make room for those before it
                self._beyond_reach |= own.difference(self._inventory.steps) | own.intersection(self._inventory.loose)

    def _refuse(self, archive: StagedArchive, device: Device, needed: int) -> None:
        error = DeviceFull(archive.name, device, needed, self._inventory.ledger.budgets[device])
        self._house.serve_old_or_refuse(self._house.waiting.dismiss(archive.key), archive, error)

    def _admit(self, archive: StagedArchive) -> None:
        add(self._free, self._inventory.need(archive), sign=-1)
        self._house.waiting.board(archive.key)
        self._inventory.admit(archive, self._house.at)
        self._slots -= 1
        self._is_quiet = False

    def _candidates(self, archive: StagedArchive | None, *, has_busy: bool) -> Iterator[ArchiveRecord]:
        """Who may leave for `archive`, in the order in which they should. Lazy, rank by rank."""
        ranks: list[list[ArchiveRecord]] = [[] for _ in range(IN_USE + 1)]
        idle, guarded, pins = ranks[IDLE], ranks[GUARDED], self._house.pins
        name, guarded_from = archive.name if archive is not None else None, self._house.guarded_from
        for record in self._inventory.in_state(ArchiveState.RESIDENT):  # every miss looks at all of them: be quick
            held = record.archive.name
            if held == name:
                ranks[OLD_IN_USE if record.leases else OLD_CONTENT].append(record)
            elif held in pins:
                continue
            elif record.leases:
                ranks[DRAINED if record.archive.key in self._drained_before else IN_USE].append(record)
            elif record.resident_since > guarded_from:
                guarded.append(record)
            else:
                idle.append(record)
        if not has_busy:
            del ranks[DRAINED:], ranks[OLD_IN_USE]
        return chain.from_iterable(map(self._house.in_order, filter(None, ranks)))

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
        victims = choose(self._inventory, short, _noting(candidates, considered), kept, is_partial=is_partial)
        if not victims:
            return
        considered += islice(candidates, max(0, MOST_CONSIDERED - len(considered)))
        reasons = Reasons(for_whom, short, self._house.consider(considered, victims))
        before = set(self._inventory.loose)
        for victim in victims:
            if victim.leases:
                self._inventory.drain(victim, f"{reason} for {for_whom}")
            else:
                self._house.let_go(victim, reason, reasons)
        freed = [step for digest, step in self._inventory.loose.items() if digest not in before | kept]
        add(self._pool, self._inventory.charge_of(freed))
        self._coming |= {step.step.digest for step in freed}


def _noting(records: Iterator[ArchiveRecord], noted: list[ArchiveRecord]) -> Iterator[ArchiveRecord]:
    """The records, remembering those that were looked at."""
    for record in records:
        noted.append(record)
        yield record
