"""The world around a planner: an engine that loads what it is told, callers who hold leases, and a second opinion.

`World` plays both sides, keeps its own books (`planner_books.py`), and asserts after every single command and every
event what must hold. It knows nothing of how the planner decides.
"""

from dataclasses import dataclass

from server.domain.errors import DeviceFull
from server.domain.model import StepDigest
from server.residency.planning import commands as c
from server.residency.planning import events as e
from tests.property.planner_books import Books, Lease
from tests.property.planner_universe import PREDICTED, add, covers, difference, digests, together

VICTIM_REASONS = {"room", "over budget", "out of memory"}


@dataclass
class World(Books):
    """One planner under test, in its world."""

    # Playing

    def tell(self, event: e.Event) -> list[c.Command]:
        self.is_broken = True  # until all checks have passed
        was_clean = self._is_clean()
        loading_before = self.in_state("loading")
        known = dict(self.inventory.steps)
        commands = self.planner.handle(event)
        for digest in list(self.footprints):
            if self.inventory.steps.get(digest) is not known.get(digest):  # gone, or gone and planned anew
                del self.footprints[digest]
                self.out_of_memory.pop(digest, None)
        decisions = list(self.planner.house.decisions)[self.seen_decisions :]
        self.seen_decisions += len(decisions)
        is_clean = was_clean and self._is_clean() and self.in_state("loading") == loading_before
        is_clean = is_clean and not any(isinstance(each, c.Arrived | c.Grant) for each in commands)
        self._obey(commands, decisions, is_clean=is_clean)
        self.check()
        self.is_broken = False
        return commands

    def _is_clean(self) -> bool:
        """Nobody is leaving slowly, and nothing ran out of memory: then the reference can compute the same needs."""
        return not self.in_state("draining", "retired") and not any(
            step.out_of_memory for step in self.inventory.steps.values()
        )

    def _obey(self, commands: list[c.Command], decisions: list, *, is_clean: bool) -> None:
        departures = iter(decisions)
        batch: list = []
        for command in [*commands, None]:
            decision = next(departures) if isinstance(command, c.Departed) else None
            if batch and (decision is None or self._occasion(decision) != self._occasion(batch[0])):
                self._check_victims(batch, is_clean=is_clean)
                for each in batch:
                    self._depart(each)
                batch, is_clean = [], False  # the reference follows the first choice only
            if decision is not None:
                batch.append(decision)
            elif command is not None:
                getattr(self, f"_on_{type(command).__name__.lower()}")(command)

    @staticmethod
    def _occasion(decision) -> tuple:
        return decision.reason, decision.for_whom, decision.needed

    def _on_load(self, command: c.Load) -> None:
        digest = command.step.digest
        assert digest not in self.engine, "a step is loaded twice at once, or while it is being unloaded"
        for callee in command.step.calls.values():
            assert self.engine.get(callee) == "resident", "a step is loaded before what it calls"
        self.engine[digest] = "loading"
        self.steps[digest] = command.step
        self.footprints.setdefault(digest, command.step.predicted)  # loaded again after a loss, it keeps its charge
        loading = sum(state == "loading" for state in self.engine.values())
        assert loading <= self.options.max_parallel_loads, "too many loads side by side"

    def _on_unload(self, command: c.Unload) -> None:
        digest = command.digest
        assert self.engine.get(digest) == "resident", "what is not resident is unloaded"
        for key, held in self.residents.items():
            assert digest not in digests(held), f"a step of the resident {key} is unloaded"
        for lease in self.leases:
            assert lease.is_void or digest not in digests(lease.record.archive), "a leased step is unloaded"
        if digest in self.tidied:
            self.tidied.discard(digest)  # not known to be there at all
            self.engine[digest] = "unloading void"
        for other, state in self.engine.items():
            is_void = self.inventory.steps[other].is_void or state == "unloading void"
            assert is_void or digest not in self.steps[other].calls.values(), "a step is unloaded before its caller"
        if self.engine[digest] == "unloading void":
            return
        self.engine[digest] = "unloading"

    def _on_arrived(self, command: c.Arrived) -> None:
        held = command.record.archive
        for each in held.steps:
            assert self.engine.get(each.digest) == "resident", "an archive is called resident without all its steps"
        self.residents[held.key] = held
        self.last_used[held.key] = (self.now, command.record.admission)
        self.arrived[held.key] = (self.now, command.record)

    def _on_grant(self, command: c.Grant) -> None:
        wanted = self.waiters.pop(command.waiter, None)
        assert wanted is not None, "a lease is granted to nobody, or twice"
        self.hold(command.record)
        granted = command.record.archive
        assert granted.name == wanted.name
        is_broken = self.is_failing or self.failed_until.get(wanted.key, 0.0) > self.now
        may_fit = self.may_fit(wanted)
        assert granted.key == wanted.key or is_broken or not may_fit, "old content is served although the new may load"

    def _on_refuse(self, command: c.Refuse) -> None:
        wanted = self.waiters.pop(command.waiter, None)
        assert wanted is not None, "a refusal to nobody, or twice"
        if isinstance(command.error, DeviceFull) and not self.is_failing:
            assert not self.may_fit(wanted), "refused although there would be room"

    def _on_broke(self, command: c.Broke) -> None:
        assert command.error is not None

    def _on_gone(self, command: c.Gone) -> None:
        assert command.ticket in self.tickets
        self.tickets.discard(command.ticket)

    def hold(self, record) -> None:
        """A lease begins, by a grant or on the hot path."""
        key = record.archive.key
        assert key in self.residents, "a lease on what is not resident"
        for each in record.archive.steps:
            assert self.engine.get(each.digest) == "resident", "a lease on steps that are not resident"
        assert str(record.state) in {"resident", "draining", "retired"}
        self.leases.append(Lease(record, key))
        self.last_used[key] = (self.now, record.admission)

    def _depart(self, decision) -> None:
        key = f"{decision.name}@{decision.version}"
        del self.residents[key]

    # Checking

    def _check_victims(self, batch: list, *, is_clean: bool) -> None:
        first = batch[0]
        if first.reason not in VICTIM_REASONS:
            return
        leased = {lease.key for lease in self.leases if not lease.is_void}
        for decision in batch:
            key = f"{decision.name}@{decision.version}"
            assert key not in leased, "a leased archive is evicted"
            assert decision.name not in self.pins or decision.name == first.for_whom, "a pinned archive is evicted"
        beneficiaries = [each for each in self.planner.house.waiting.queue.values() if each.name == first.for_whom]
        is_rush = len(self.planner.house.waiting.queue) + 1 >= self.options.rush_from  # its order is in `test_rush.py`
        if not is_clean or first.reason != "room" or len(beneficiaries) != 1 or is_rush:
            return
        wanted = beneficiaries[0]
        order = sorted(
            (key for key, held in self.residents.items() if key not in leased and self._may_leave(held, wanted)),
            key=lambda key: (self.residents[key].name == wanted.name, self._is_guarded(key), self._recency(key)),
        )
        unguarded = [key for key in order if not self._is_guarded(key) and self.residents[key].name != wanted.name]
        needed, kept, there = self.missing(wanted)
        assert dict(first.needed) == needed, "more (or less) room is made than is missing"
        prefix = []
        while not covers(self.freed(prefix, kept, there), needed):
            assert order, "victims although all candidates together are not enough"
            prefix.append(order.pop(0))
        victims = [f"{decision.name}@{decision.version}" for decision in batch]
        is_known = self.options.policy == "lru"
        assert set(victims) <= set(prefix) or not is_known, "not the least recently used"
        has_choice = covers(self.freed(unguarded, kept, there), needed)
        assert set(victims) <= set(unguarded) or not has_choice, "a new arrival is evicted although others would do"
        assert covers(self.freed(victims, kept, there), needed), "too little is evicted"
        for victim in victims:
            others = [key for key in victims if key != victim]
            assert not covers(self.freed(others, kept, there), needed), "more is evicted than is needed"

    def check(self) -> None:
        """What must hold between any two events."""
        self._check_books()
        self._check_waiters()
        draining, queue = self.in_state("draining"), self.planner.house.waiting.queue
        has_stalled = any(record.is_stalled for record in self.inventory.archives.values())
        is_paying_back = self.is_overdrawn and any(lease.is_lent for lease in self.leases)
        assert not draining or queue or has_stalled or is_paying_back, "an archive drains for nobody"
        assert len(self.inventory.leasable) == len(self.in_state("resident")), "two contents of a name stay"
        for name, record in self.inventory.leasable.items():
            assert str(record.state) == "resident", f"{name} is leaving, and gives leases"
        for lease in self.leases:
            assert lease.is_void or lease.key in self.residents, "a leased archive departed"

    def _check_books(self) -> None:
        footprints = []
        for digest, record in self.inventory.steps.items():
            is_trying_again = self.out_of_memory[digest] > 0
            charge = self.inventory.ledger.charge_of(digest)
            footprints.append(charge if is_trying_again else self.footprints.get(digest) or PREDICTED[digest])
            in_engine = str(record.state) in {"loading", "resident", "unloading"}
            assert in_engine == (digest in self.engine), "the planner and the engine disagree about a step"
        charged = {**dict.fromkeys(self.budgets, 0), **together(footprints)}
        assert set(self.engine) <= set(self.inventory.steps), "a step is in the engine, and not charged"
        assert charged == dict(self.inventory.ledger.charged()), "the ledger's sum is wrong"
        if not self.is_overdrawn:
            for device, budget in self.budgets.items():
                assert charged[device] <= budget, "charged above the budget"

    def _check_waiters(self) -> None:
        """Nobody waits beside free room, and nobody waits for nothing."""
        queue = self.planner.house.waiting.queue
        assert set(queue) <= {wanted.key for wanted in self.waiters.values()}, "room is made for nobody"
        loading = self.in_state("loading")
        for waiter, wanted in self.waiters.items():
            assert wanted.key in queue or wanted.key in loading, f"waiter {waiter} is forgotten"
        records = self.inventory.archives.values()
        if any(record.is_stalled for record in records):
            return
        is_moving = self.in_state("loading", "draining", "retired") or set(self.engine.values()) - {"resident"}
        assert is_moving or not queue, "somebody waits, and nothing happens"
        room, there = self.free(), set(self.inventory.steps)
        for key, entry in queue.items():
            if key in self.inventory.archives:
                continue  # its own content is leaving; it cannot be admitted before that is over
            absent = [d for d in digests(entry) if d not in self.inventory.steps]
            add(room, difference(self.charge(there | digests(entry)), self.charge(there)), -1)
            needs_none = not absent and not any(digest in self.inventory.loose for digest in digests(entry))
            is_unloading = any("unloading" in self.engine.get(d, "") for d in digests(entry))
            beside_room = needs_none or all(amount >= 0 for amount in room.values())
            assert is_unloading or not beside_room, f"{key} waits beside free room"

    # Shorthands for the rules

    def loading(self) -> list[StepDigest]:
        return sorted(digest for digest, state in self.engine.items() if state == "loading")

    def unloading(self) -> list[StepDigest]:
        return sorted(digest for digest, state in self.engine.items() if state.startswith("unloading"))
