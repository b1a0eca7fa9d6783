"""What callers, the engine and people do to the tenants' planner."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from server.domain.errors import LoadFailed
from server.domain.model import Footprint
from server.residency.options import ResidencyOptions
from server.residency.planning import commands as c
from server.residency.planning import events as e
from server.residency.planning.terms import Wish
from tests.property.tenants_world import (
    ARCHIVES,
    BUDGET,
    GPU,
    GUARD_S,
    KEYS,
    MAX_ORDERS,
    MAX_PASSES,
    ORDER_S,
    QUOTAS,
    RUSH_FROM,
    SIZES,
    SPARE_S,
    TARIFF,
    Tenants,
    digests,
    group_of,
    size_of,
)

PICK = st.integers(0, 7)


def tenants_machine(planner_module):
    """The machine, for `server.residency.planning.planner` or for a copy of it with a bug."""

    class TenantsMachine(_TenantsMachine):
        module = planner_module

    return TenantsMachine


class _TenantsMachine(RuleBasedStateMachine):
    @initialize(parallel=st.integers(1, 3))
    def build(self, parallel):
        options = ResidencyOptions(
            max_parallel_loads=parallel,
            churn_guard_s=GUARD_S,
            spare_s=SPARE_S,
            max_passes=MAX_PASSES,
            rush_from=RUSH_FROM,
            max_orders=MAX_ORDERS,
            failure_ttl_s=0.5,
            decisions_kept=100_000,
            tariff=TARIFF,
        )
        planner = self.module.Planner({GPU: BUDGET}, lambda step: step.predicted, options)
        self.world = Tenants(planner)

    @rule(key=st.sampled_from(KEYS), is_patient=st.sampled_from([False, False, True]))
    def want(self, key, is_patient):
        world = self.world
        world.ids += 1
        world.waiters[world.ids] = key, is_patient
        world.tell(e.Wanted, waiter=world.ids, archive=ARCHIVES[key], is_patient=is_patient)

    @rule(key=st.sampled_from(KEYS), seconds=st.sampled_from([0.0, 9.0]), is_patient=st.booleans())
    def serve(self, key, seconds, is_patient):
        """A request from beginning to end, as far as others let it."""
        self.world.now += seconds
        self.want(key, is_patient)
        waiter = self.world.ids
        for _ in range(8):
            if waiter in self.world.waiters and self.world.engine:
                self.work()
        for lease in [each for each in self.world.leases if each.archive.key == key]:
            self.world.give_back(lease)

    @rule(key=st.sampled_from(KEYS))
    def order(self, key):
        world = self.world
        is_new = key not in world.inventory.archives and key not in world.queue
        has_room = len(world.planner.house.waiting.orders) < MAX_ORDERS
        world.orders[key] = world.now + 1.0 + ORDER_S
        commands = world.tell(e.Ordered, archive=ARCHIVES[key], until=world.now + 1.0 + ORDER_S)
        fits = size_of(digests(ARCHIVES[key])) <= min(BUDGET, QUOTAS.get(group_of(world.name(key)), BUDGET))
        if is_new and has_room and fits:
            assert key in world.queue or key in world.inventory.archives, "an order is not taken"
        assert not any(isinstance(each, c.Grant) and each.record.archive.key == key for each in commands)

    @precondition(lambda self: self.world.waiters)
    @rule(which=PICK)
    def give_up(self, which):
        world = self.world
        waiter = sorted(world.waiters)[which % len(world.waiters)]
        key, _ = world.waiters.pop(waiter)
        was_ordered = key in world.planner.house.waiting.orders and world.orders.get(key, 0.0) > world.now + 1.0
        world.tell(e.GaveUp, waiter=waiter)
        if was_ordered:
            assert key in world.queue or key in world.inventory.archives, "an order goes with a waiter"

    @rule(key=st.sampled_from(KEYS))
    def lease(self, key):
        world = self.world
        world.now += 1.0
        record = world.planner.lease(world.name(key), None, world.now)
        if record is not None:
            world._hold(record, is_patient=False)

    @precondition(lambda self: self.world.leases)
    @rule(which=PICK)
    def release(self, which):
        self.world.give_back(self.world.leases[which % len(self.world.leases)])

    @precondition(lambda self: self._busy())
    @rule(which=PICK, fails=st.sampled_from([False] * 7 + [True]))
    def work(self, which=0, fails=False):
        world, busy = self.world, self._busy()
        if not busy:
            return
        digest = busy[which % len(busy)]
        if world.engine[digest] == "unloading":
            del world.engine[digest]
            world.tell(e.StepUnloaded, digest=digest)
        elif fails:
            del world.engine[digest]
            world.tell(e.StepFailed, digest=digest, error=LoadFailed("no"))
        else:
            world.engine[digest] = "resident"
            world.tell(e.StepLoaded, digest=digest, measured=Footprint({GPU: SIZES[digest]}))

    @rule(name=st.sampled_from(["c5", "low8", "a/6"]), is_pinned=st.booleans())
    def pin(self, name, is_pinned):
        self.world.tell(e.Pinned if is_pinned else e.Unpinned, name=name)

    @rule(key=st.sampled_from(KEYS), priority=st.integers(-1, 1))
    def say(self, key, priority):
        name = self.world.name(key)
        self.world.priorities[name] = priority
        self.world.tell(e.TermsSaid, name=name, wish=Wish(priority=priority))

    @rule(seconds=st.sampled_from([5.0, 30.0]))
    def wait(self, seconds):
        self.world.now += seconds
        self.world.tell(e.TimePassed)

    def _busy(self):
        return [digest for digest, state in self.world.engine.items() if state != "resident"]

    def teardown(self):
        """Whoever cannot wait is answered as soon as the others are done."""
        if not hasattr(self, "world") or self.world.is_broken:
            return
        world = self.world
        for _ in range(500):
            if world.leases:
                world.give_back(world.leases[0])
            elif self._busy():
                self.work()
        assert not [key for key, is_patient in world.waiters.values() if not is_patient], "somebody urgent is forgotten"
