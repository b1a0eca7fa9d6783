"""Tenants with quotas and priorities, callers who can wait and callers who cannot, around one planner.

A world beside `planner_world.py`: it asks less about eviction in general and all about who comes before whom. Nothing in
it ever measures more than was predicted, so that budgets and quotas hold at every moment.
"""

from collections import Counter
from dataclasses import dataclass, field

from server.domain.errors import DeviceFull, LoadFailed
from server.domain.model import Footprint
from server.residency.leases import Lease
from server.residency.planning import commands as c
from server.residency.planning import events as e
from server.residency.planning.terms import ArchiveEntry, GroupEntry, Tariff, Wish
from tests.fakes.source import archive, step

GPU = "gpu:0"
BUDGET = 60
QUOTAS = {"a": 36, "b": 40}
SPARE_S, GUARD_S, ORDER_S, MAX_PASSES, MAX_ORDERS = 6.0, 3.0, 25.0, 2, 2
RUSH_FROM, FRONT = 8, 4
"""In a rush only so many of those who wait are looked at, and who comes behind them may be passed on their account."""
TARIFF = Tariff(
    archives=(ArchiveEntry("low*", Wish(priority=-1)),),
    groups=(GroupEntry("a", quota_bytes=QUOTAS["a"]), GroupEntry("b", priority=1, quota_bytes=QUOTAS["b"])),
)


def _universe():
    base = step("base", predicted=Footprint({GPU: 8}))

    def made(name, size, *shared):
        return archive(name, *shared, step(f"{name}-own", calls=shared, predicted=Footprint({GPU: size})))

    return [
        *(made(f"a/{size}", size) for size in (6, 12, 20, 50)),
        made("a/shared", 4, base),
        *(made(f"b/{size}", size) for size in (10, 24, 30)),
        made("b/shared", 6, base),
        *(made(f"low{size}", size) for size in (8, 16, 26)),
        *(made(f"c{size}", size) for size in (5, 7, 9, 25, 55, 60)),
    ]


ARCHIVES = {each.key: each for each in _universe()}
KEYS = sorted(ARCHIVES)
SIZES = {each.digest: each.predicted.on(GPU) for held in ARCHIVES.values() for each in held.steps}


def group_of(name):
    return name.split("/")[0] if "/" in name else ""


def digests(held):
    return {each.digest for each in held.steps}


def size_of(steps):
    return sum(SIZES[digest] for digest in steps)


@dataclass
class Tenants:
    """The planner under test, what the world knows about it, and what must hold after every event."""

    planner: object
    now: float = 1000.0
    ids: int = 0
    engine: dict = field(default_factory=dict)
    waiters: dict = field(default_factory=dict)
    """By id: key and whether it is patient."""
    leases: list = field(default_factory=list)
    urgent_use: dict = field(default_factory=dict)
    orders: dict = field(default_factory=dict)
    priorities: dict = field(default_factory=dict)
    passes: Counter = field(default_factory=Counter)
    behind: dict = field(default_factory=dict)
    """By key: how many came before it while it was not looked at."""
    seen_decisions: int = 0
    is_broken: bool = False

    @property
    def inventory(self):
        return self.planner.house.inventory

    @property
    def queue(self):
        return self.planner.house.waiting.queue

    def priority(self, name):
        said = self.priorities.get(name)
        return said if said is not None else 1 if name.startswith("b/") else -1 if name.startswith("low") else 0

    def is_urgent(self, key):
        return any(wanted == key and not is_patient for wanted, is_patient in self.waiters.values())

    def in_state(self, *states):
        return [key for key, record in self.inventory.archives.items() if str(record.state) in states]

    def tell(self, kind, **facts):
        self.is_broken = True  # until all checks have passed
        self.now += 1.0
        queue_before, urgent_before = list(self.queue), [key for key in self.queue if self.is_urgent(key)]
        here_before = dict(self.inventory.archives)
        self._before = {
            record.archive.key: (record.leases, str(record.state), digests(record.archive), record.resident_since)
            for record in self.inventory.archives.values()
        }
        commands = self.planner.handle(kind(at=self.now, **facts))
        granted = {
            key
            for command in commands
            if isinstance(command, c.Grant)
            and here_before.get(key := command.record.archive.key) is command.record  # not one that came after it
        }
        self._before = {
            key: (leases + (key in granted), *more) for key, (leases, *more) in self._before.items()
        }  # of two things in one event, a grant goes before a choice of victims
        self._check_decisions()
        for command in commands:
            getattr(self, f"_on_{type(command).__name__.lower()}", lambda _: None)(command)
        came = [key for key in self.inventory.archives if key not in here_before]
        self._check_order(queue_before, urgent_before, came)
        self._check_books()
        self.is_broken = False
        return commands

    # Commands

    def _on_load(self, command):
        assert command.step.digest not in self.engine, "a step is loaded twice at once"
        self.engine[command.step.digest] = "loading"

    def _on_unload(self, command):
        assert self.engine[command.digest] == "resident"
        held = {digest for lease in self.leases for digest in digests(lease.archive)}
        assert command.digest not in held, "a leased step is unloaded"
        self.engine[command.digest] = "unloading"

    def _on_grant(self, command):
        key, is_patient = self.waiters.pop(command.waiter)
        assert command.record.archive.key == key
        self._hold(command.record, is_patient=is_patient)

    def _on_refuse(self, command):
        key, _ = self.waiters.pop(command.waiter)
        held = ARCHIVES[key]
        quota = QUOTAS.get(group_of(held.name), BUDGET)
        pinned = [each for each in ARCHIVES.values() if each.name in self.planner.house.pins and each.key != key]
        may_fit = size_of(digests(held).union(*map(digests, pinned))) <= min(BUDGET, quota)
        is_failure = isinstance(command.error, LoadFailed)
        assert is_failure or not may_fit, "refused although there would be room"
        if size_of(digests(held)) > quota:
            assert isinstance(command.error, DeviceFull)
            assert "quota" in str(command.error)

    def _hold(self, record, *, is_patient):
        lease = Lease(record, self.planner_release)
        if is_patient:
            lease.be_patient(self.urgent_use.get(record.archive.key, 0.0))
        else:
            self.urgent_use[record.archive.key] = self.now
        lease.is_urgent = not is_patient
        self.leases.append(lease)

    def planner_release(self, record):
        self.is_pressed = self.planner.release(record, self.now)

    def give_back(self, lease):
        self.leases.remove(lease)
        self.now += 1.0
        record = lease._record
        is_last = record.leases == 1
        lease.release()
        if is_last and lease.is_urgent:
            self.urgent_use[record.archive.key] = self.now
        if self.is_pressed:
            self.tell(e.Idle)

    # Promises

    def _check_decisions(self):
        decisions = list(self.planner.house.decisions)[self.seen_decisions :]
        self.seen_decisions += len(decisions)
        gone = set()
        for decision in decisions:
            key = f"{decision.name}@{decision.version}"
            leases, _, _, since = self._before[key]
            assert not leases, "a leased archive is evicted"
            assert decision.name not in self.planner.house.pins, "a pinned archive is evicted"
            if decision.reason not in {"room", "quota"}:
                gone.add(key)
                continue
            wanted = f"{decision.for_whom}@1"
            if decision.reason == "quota":
                assert group_of(decision.name) == group_of(decision.for_whom), "another group leaves for a quota"
            if not self.is_urgent(wanted):
                assert self.urgent_use.get(key, 0.0) <= self.now - SPARE_S, "who is patient disturbs urgent traffic"
                assert since <= self.now - GUARD_S, "who is patient has a new arrival evicted"
                assert self.priority(decision.name) <= self.priority(decision.for_whom)
            self._check_priority(decision, key, gone)
            gone.add(key)

    def _check_priority(self, decision, key, gone):
        """No victim of a priority while those below it free enough; nobody above the claim's while those below do."""
        mine, own = self.priority(decision.name), self.priority(decision.for_whom)
        if decision.reason == "quota" or len(self._decided(decision)) > 1:
            return  # the reference below counts single choices only
        pins, kept = self.planner.house.pins, digests(ARCHIVES[f"{decision.for_whom}@1"])
        others = {
            other: steps
            for other, (leases, state, steps, _) in self._before.items()
            if state in {"resident", "draining"} and other not in gone and self.name(other) not in pins
        }
        if not self.is_urgent(f"{decision.for_whom}@1"):
            others = {other: steps for other, steps in others.items() if self._may_leave_for_the_patient(other)}
        below = [other for other in others if self.priority(self.name(other)) < mine and not self._before[other][0]]
        at_most_own = [other for other in others if self.priority(self.name(other)) <= own]
        needed = dict(decision.needed)[GPU]
        all_before = {other: steps for other, (_, _, steps, _) in self._before.items() if other not in gone}
        if mine <= own:
            assert self._freed(below, all_before, kept) < needed, "it leaves although lower ones would do"
        else:
            assert self._freed(at_most_own, all_before, kept) < needed, "a higher one leaves for a lower one"

    def _may_leave_for_the_patient(self, key):
        since = self._before[key][3]
        return max(self.urgent_use.get(key, 0.0), since) <= self.now - SPARE_S and since <= self.now - GUARD_S

    def _decided(self, decision):
        return [each for each in list(self.planner.house.decisions)[-8:] if each.at == decision.at]

    @staticmethod
    def _freed(leaving, all_before, kept):
        stay = set().union(*(steps for other, steps in all_before.items() if other not in leaving))
        go = set().union(*(all_before[other] for other in leaving)) if leaving else set()
        return size_of(go - stay - kept)

    @staticmethod
    def name(key):
        return key.rpartition("@")[0]

    def _check_order(self, queue_before, urgent_before, came):
        """Room that somebody waits for is given to others a bounded number of times, and never to the patient."""
        waiting = [key for key in urgent_before if key in self.queue and self.is_urgent(key)]
        # Who waits for its own group keeps nobody else waiting.
        waiting = [key for key in waiting if group_of(self.name(key)) not in QUOTAS or not self._is_at_quota(key)]
        held = set().union(*(digests(ARCHIVES[key]) for key in self.in_state("loading", "resident") if key not in came))
        is_rush = len(queue_before) + 1 >= RUSH_FROM
        for key in waiting[FRONT:] if is_rush else ():
            self.behind[key] = max(waiting.index(key), self.behind.get(key, 0))
        for newcomer in came:
            taken = digests(ARCHIVES[newcomer]) - held
            held |= taken
            for key in waiting if taken else ():
                if newcomer in queue_before and queue_before.index(newcomer) < queue_before.index(key):
                    continue
                if size_of(held | digests(ARCHIVES[key])) > BUDGET:
                    self.passes[key] += 1
                    most = MAX_PASSES * (1 + self.behind.get(key, 0))
                    assert self.passes[key] <= most, "small archives starve a large one"
        for counts in (self.passes, self.behind):
            for key in [each for each in counts if each not in self.queue]:
                del counts[key]
        has_urgent = any(map(self.is_urgent, self.queue))
        assert has_urgent or not self.in_state("draining"), "leased archives are drained for somebody who can wait"

    def _is_at_quota(self, key):
        group = group_of(self.name(key))
        return size_of(self._charged_to(group) | digests(ARCHIVES[key])) > QUOTAS[group]

    def _charged_to(self, group):
        held = {
            each.digest
            for record in self.inventory.archives.values()
            if group_of(record.archive.name) == group
            for each in record.archive.steps
        }
        leaving = {
            digest
            for digest, step in self.inventory.steps.items()
            if not step.references and group_of(step.last_holder) == group and step.last_holder
        }
        return held | leaving

    def _check_books(self):
        assert size_of(self.inventory.steps) <= BUDGET, "charged above the budget"
        for group, quota in QUOTAS.items():
            assert size_of(self._charged_to(group)) <= quota, "a group takes more than its quota"
        self.orders = {key: until for key, until in self.orders.items() if until > self.now}
        wanted = {key for key, _ in self.waiters.values()}
        assert set(self.queue) <= wanted | set(self.orders), "room is made for nobody"
        unattended = [key for key in self.queue if key not in wanted]
        assert len(unattended) <= MAX_ORDERS, "more is ordered at once than may be"
        loading = self.in_state("loading")
        for key in wanted:
            assert key in self.queue or key in loading, "a waiter is forgotten"
        is_moving = self.in_state("loading", "draining", "retired") or set(self.engine.values()) - {"resident"}
        assert is_moving or not any(map(self.is_urgent, self.queue)), "somebody urgent waits, and nothing happens"
