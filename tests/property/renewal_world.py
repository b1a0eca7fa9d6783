"""The planner's world with planned restarts of the engine: what has to hold while nobody gets a lease, and after it."""

from dataclasses import dataclass, field
from types import ModuleType

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from server.domain.model import StepDigest
from server.residency.planning import events as e
from tests.property.planner_machine import ANY, ARCHIVES, CHURN_GUARDS_S, POLICIES, machine_for
from tests.property.planner_world import World


@dataclass
class RenewalWorld(World):
    """Keeps its own book on where a renewal stands: `phase` is None, "draining" or "restarting"."""

    phase: str | None = None
    recalled: list[str] = field(default_factory=list)
    """Keys, in the order in which the last renewal called them back."""
    returning: set[str] = field(default_factory=set)
    """Keys that were resident before a renewal and are not yet again."""

    def _on_load(self, command):
        assert self.phase is None, "a load begins while the engine is renewed"
        super()._on_load(command)

    def _on_grant(self, command):
        assert self.phase is None, "a lease is granted while the engine is renewed"
        super()._on_grant(command)

    def hold(self, record):
        assert self.phase is None, "a lease is taken while the engine is renewed"
        super().hold(record)

    def _on_arrived(self, command):
        key = command.record.archive.key
        used = self.last_used.get(key)
        super()._on_arrived(command)
        if key in self.returning:
            self.returning.discard(key)
            self.last_used[key] = used  # to be loaded again is no use
            is_awaited = any(wanted.key == key for wanted in self.waiters.values())
            assert is_awaited or command.record.last_used == used[0], "to come back counts as a use"

    def _on_renewengine(self, command):
        assert self.phase == "draining", "the engine is restarted although nobody asked for it"
        assert all(lease.is_void for lease in self.leases), "the engine is restarted under a lease"
        assert set(self.engine.values()) <= {"resident"}, "the engine is restarted while it loads or unloads"
        self.phase = "restarting"

    def _on_recalled(self, command):
        key = command.record.archive.key
        del self.residents[key]
        self.recalled.append(key)
        self.returning.add(key)

    def lose_engine(self) -> list[StepDigest]:
        lost = sorted(digest for digest, state in self.engine.items() if state == "resident")
        for digest in lost:
            del self.engine[digest]
        return lost

    def check(self):
        self._follow_to_old_content()
        self.returning &= set(self.in_state("loading"))
        if self.phase is None:
            super().check()
            return
        self._check_books()
        assert not self.inventory.leasable, "somebody gives leases while the engine is renewed"
        for lease in self.leases:
            assert lease.is_void or lease.key in self.residents, "a leased archive departed"

    def _follow_to_old_content(self):
        """Who wanted new content that is broken waits for the old one, which comes back."""
        queue, loading = self.planner.house.waiting.queue, self.in_state("loading")
        for waiter, wanted in self.waiters.items():
            if wanted.key not in queue and wanted.key not in loading:
                old = [
                    ARCHIVES[key] for key in self.in_state("draining", "loading") if ARCHIVES[key].name == wanted.name
                ]
                if old:
                    self.waiters[waiter] = old[-1]


class _Renewals:
    @initialize(
        gpu=st.sampled_from([36, 60]),
        cpu=st.sampled_from([16, 40]),
        parallel=st.integers(1, 3),
        policy=st.integers(0, len(POLICIES) - 1),
        churn_guard_s=st.sampled_from(CHURN_GUARDS_S),
    )
    def build(self, gpu, cpu, parallel, policy, churn_guard_s):
        super().build(gpu, cpu, parallel, policy, churn_guard_s)
        plain = self.world
        self.world = RenewalWorld(plain.planner, plain.options, plain.budgets)

    @rule(key=st.sampled_from(sorted(ARCHIVES)), is_use=st.booleans())
    def want(self, key, *, is_use=True):
        if self.world.phase is None:
            super().want(key, is_use=is_use)
            return
        waiter = self.world.new_id()
        self.world.waiters[waiter] = ARCHIVES[key]
        self.tell(e.Wanted, waiter=waiter, archive=ARCHIVES[key], is_use=is_use)
        assert waiter in self.world.waiters, "somebody is answered while the engine is renewed"

    @rule()
    def renew(self):
        if self.world.phase is None:
            self.world.phase = "draining"
        self.tell(e.RenewalWanted)

    @precondition(lambda self: self.world.phase == "draining")
    @rule()
    def drain_takes_too_long(self):
        self.world.phase = None
        self.tell(e.RenewalCalledOff)
        assert not self.world.in_state("draining") or self.world.waiters, "somebody drains on for nothing"

    @precondition(lambda self: self.world.phase == "restarting")
    @rule()
    def engine_is_renewed(self):
        world = self.world
        world.lose_engine()
        awaited = {wanted.key for wanted in world.waiters.values()}
        were = dict(world.residents)
        world.phase, world.recalled = None, []
        self.tell(e.EngineRenewed)
        assert set(world.recalled) == set(were), "what was resident does not come back"
        ranks = [(key not in awaited, were[key].name not in world.pins) for key in world.recalled]
        assert ranks == sorted(ranks), "not those first that are waited for, and then the pinned ones"
        if world.options.policy == "lru":
            order = [(rank, *_negated(world._recency(key))) for rank, key in zip(ranks, world.recalled, strict=True)]
            assert order == sorted(order), "not the most recently used first"

    @precondition(lambda self: self.world.phase == "restarting")
    @rule(which=ANY)
    def too_late_to_call_off(self, which):
        self.tell(e.RenewalCalledOff)
        assert self.world.phase == "restarting"

    def finish_everything(self):
        for _ in range(3):
            super().finish_everything()
            if self.world.phase == "restarting":
                self.engine_is_renewed()
        assert self.world.phase is None or self.world.planner.house.is_closed, "a renewal never ends"


def renewal_machine_for(planner_module: ModuleType) -> type[RuleBasedStateMachine]:
    """The machine of `planner_machine.py`, with renewals in its world."""

    class RenewalMachine(_Renewals, machine_for(planner_module, POLICIES)):
        pass

    return RenewalMachine


def _negated(recency):
    return -recency[0], -recency[1]
