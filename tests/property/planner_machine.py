"""A hypothesis state machine that does to a planner whatever callers, engines and stores may do to it."""

from collections.abc import Sequence
from types import ModuleType

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from server.domain.errors import DeviceFull, EngineLost, LoadFailed
from server.domain.model import Footprint, clipped
from server.residency.options import ResidencyOptions
from server.residency.planning import commands as c
from server.residency.planning import events as e
from tests.property.planner_books import Lease
from tests.property.planner_universe import GPU, digests, universe
from tests.property.planner_world import World

ARCHIVES = {each.key: each for each in universe()}
NAMES = sorted({each.name for each in ARCHIVES.values()})
ANY = st.integers(0, 7)
"""Picks one of however many there are."""
POLICIES = ("lru", "gdsf", "s3-fifo")
CHURN_GUARDS_S = [0.0, 12.0]
HOW_LOADS_END = ["finishes", "fails", "meets_out_of_memory", "is_lost"]
FAILURE_TTL_S = 15.0
RUSHES_FROM = (8, 2)
"""Few archives wait in this small world: with the first it is hardly ever a rush, with the second most of the time."""


def pick(choices, which):
    """One of `choices`, which are not empty."""
    return choices[which % len(choices)]


def machine_for(
    planner_module: ModuleType, policies: Sequence[str] = POLICIES, rushes_from: Sequence[int] = RUSHES_FROM[:1]
) -> type[RuleBasedStateMachine]:
    """The machine, for `server.residency.planning.planner` or for a copy of it with a bug, with one of these policies."""

    class PlannerMachine(_PlannerMachine):
        module = planner_module
        choice_of_policies = policies
        choice_of_rushes = rushes_from

    return PlannerMachine


class _PlannerMachine(RuleBasedStateMachine):
    module: ModuleType
    choice_of_policies: Sequence[str]
    choice_of_rushes: Sequence[int]

    @initialize(
        gpu=st.sampled_from([36, 48, 60]),
        cpu=st.sampled_from([9, 16, 40]),
        parallel=st.integers(1, 3),
        policy=st.integers(0, len(POLICIES) - 1),
        churn_guard_s=st.sampled_from(CHURN_GUARDS_S),
    )
    def build(self, gpu: int, cpu: int, parallel: int, policy: int, churn_guard_s: float):
        options = ResidencyOptions(
            policy=pick(self.choice_of_policies, policy),
            churn_guard_s=churn_guard_s,
            max_parallel_loads=parallel,
            failure_ttl_s=FAILURE_TTL_S,
            lost_retries=2,
            decisions_kept=100_000,
            rush_from=pick(self.choice_of_rushes, gpu // 12 + parallel),
        )
        budgets = {GPU: gpu, "cpu": cpu}
        planner = self.module.Planner(budgets, lambda step: step.predicted, options)
        self.world = World(planner, options, budgets)

    def tell(self, kind, **facts):
        self.world.now += 1.0
        return self.world.tell(kind(at=self.world.now, **facts))

    # Callers

    @rule(key=st.sampled_from(sorted(ARCHIVES)), is_use=st.booleans())
    def want(self, key, *, is_use=True):
        world, waiter, archive = self.world, self.world.new_id(), ARCHIVES[key]
        world.waiters[waiter] = archive
        is_resident = archive.key in world.in_state("resident")
        is_known_to_fail = world.failed_until.get(archive.key, 0.0) > world.now + 1.0
        world.is_failing = is_known_to_fail
        commands = self.tell(e.Wanted, waiter=waiter, archive=archive, is_use=is_use)
        world.is_failing = False
        if is_resident or is_known_to_fail or archive.name == "giant":
            assert waiter not in world.waiters, "this waiter could be answered at once"
        if archive.name == "giant":
            assert [type(each.error) for each in commands if isinstance(each, c.Refuse)] == [DeviceFull]
            assert not any(isinstance(each, c.Departed) for each in commands), "evicted for what can never fit"

    @rule(
        key=st.sampled_from(sorted(ARCHIVES)),
        luck=st.sampled_from([*["finishes"] * 5, *HOW_LOADS_END]),
        is_use=st.booleans(),
    )
    def serve(self, key, luck, *, is_use):
        """A request from beginning to end, with an engine that does its work, or its worst: gets deep quickly."""
        self.want(key, is_use=is_use)
        world, waiter = self.world, self.world.ids
        for _ in range(30):
            if waiter in world.waiters and world.loading() and luck != "finishes":
                self.load_ends(0, luck, 0)
            elif waiter in world.waiters and (world.loading() or world.unloading()):
                self.work()
        for lease in [each for each in world.leases if each.key == key]:
            self.give_back(lease)
        if luck == "fails":
            self.want(key)

    @rule(wanted=st.lists(st.tuples(st.sampled_from(sorted(ARCHIVES)), st.booleans()), min_size=3, max_size=5))
    def serve_several(self, wanted):
        """One after the other: most evictions in peace happen here."""
        for key, is_use in wanted:
            self.serve(key, "finishes", is_use=is_use)

    def work(self):
        """The engine ends something that it does."""
        if self.world.unloading():
            self.end_unload(self.world.unloading()[0])
        else:
            self.load_finishes(self.world.loading()[0], saved=0)

    @precondition(lambda self: self.world.residents)
    @rule(which=ANY, version=st.sampled_from(["1", "2", None, None]))
    def lease_on_the_hot_path(self, which, version):
        name = pick(sorted({held.name for held in self.world.residents.values()}), which)
        self.world.now += 1.0
        record = self.world.planner.lease(name, version, self.world.now)
        if record is None:
            return
        assert str(record.state) == "resident", "a leaving archive gives a lease"
        assert version in {record.archive.version, None}
        self.world.hold(record)

    @precondition(lambda self: self.world.leases)
    @rule(which=ANY)
    def release(self, which):
        self.give_back(pick(self.world.leases, which))

    def give_back(self, lease: Lease):
        world = self.world
        world.leases.remove(lease)
        world.now += 1.0
        if not lease.is_void and all(other.record is not lease.record for other in world.leases):
            world.last_used[lease.key] = (world.now, lease.record.admission)
        if world.planner.release(lease.record, world.now):
            self.tell(e.Idle)
        else:
            world.check()

    @precondition(lambda self: self.world.waiters)
    @rule(which=ANY)
    def give_up(self, which):
        waiter = pick(sorted(self.world.waiters), which)
        del self.world.waiters[waiter]
        self.tell(e.GaveUp, waiter=waiter)

    # The engine

    @precondition(lambda self: self.world.loading())
    @rule(
        which=ANY,
        how=st.sampled_from([*["finishes"] * 9, *HOW_LOADS_END]),
        saved=st.integers(-1, 3),
    )
    def load_ends(self, which, how, saved):
        digest = pick(self.world.loading(), which)
        if how == "finishes":
            self.load_finishes(digest, saved if saved >= 0 else -5)
        else:
            getattr(self, f"load_{how}")(digest)

    def load_finishes(self, digest, saved):
        """`saved` bytes were predicted and not taken; where it is negative, the prediction was too low."""
        world = self.world
        predicted = world.footprints[digest]
        amounts = {device: max(0, amount - saved) for device, amount in predicted.bytes_by_device.items()}
        measured = Footprint(amounts, mapped=clipped(predicted.mapped, amounts.get("cpu", 0)))
        world.engine[digest] = "resident"
        if not world.inventory.steps[digest].is_void:
            world.is_overdrawn = world.is_overdrawn or saved < 0
            world.footprints[digest] = measured
            world.out_of_memory.pop(digest, None)
        else:
            world.tidied.add(digest)
        self.tell(e.StepLoaded, digest=digest, measured=measured)

    def load_fails(self, digest):
        world = self.world
        is_void = world.inventory.steps[digest].is_void  # then it is the engine's fault, and not remembered
        for key in [] if is_void else world.in_state("loading"):
            if digest in digests(world.inventory.archives[key].archive):
                world.failed_until[key] = world.now + 1.0 + FAILURE_TTL_S
        self.end_load(digest, e.StepFailed, error=LoadFailed("no"))

    def load_meets_out_of_memory(self, digest):
        world = self.world
        world.out_of_memory[digest] += not world.inventory.steps[digest].is_void
        is_second = world.out_of_memory[digest] > 1
        before = [world.inventory.archives[key] for key in world.in_state("loading")]
        self.end_load(digest, e.StepOutOfMemory)
        if is_second:
            held = [record for record in before if digest in digests(record.archive)]
            assert all(str(record.state) == "absent" for record in held), "a third try after two out of memory"

    def load_is_lost(self, digest):
        self.end_load(digest, e.StepLost, error=EngineLost("died"))

    def end_load(self, digest, kind, **facts):
        del self.world.engine[digest]
        self.world.is_failing = True
        self.tell(kind, digest=digest, **facts)
        self.world.is_failing = False

    @precondition(lambda self: self.world.unloading())
    @rule(which=ANY)
    def unload_finishes(self, which):
        self.end_unload(pick(self.world.unloading(), which))

    def end_unload(self, digest):
        del self.world.engine[digest]
        self.tell(e.StepUnloaded, digest=digest)

    @rule(name=st.sampled_from(NAMES), what=st.sampled_from([*["nothing"] * 3, "dies", "deleted", "unloaded"]))
    def something_rare(self, name, what):
        if what == "dies":
            self.engine_dies(knows_loading=name < "m")
        elif what == "deleted":
            self.tell(e.Deleted, name=name)
        elif what == "unloaded":
            self.unload(name)

    def engine_dies(self, *, knows_loading):
        """Everything resident vanishes; an engine may or may not count what it was just loading."""
        world = self.world
        lost = sorted(digest for digest, state in world.engine.items() if state == "resident")
        for lease in world.leases:
            lease.is_void = True
        for digest in lost:
            del world.engine[digest]
        self.tell(e.EngineDied, digests=[*lost, *(world.loading() if knows_loading else [])])

    def unload(self, name):
        ticket = self.world.new_id()
        self.world.tickets.add(ticket)
        self.tell(e.Unwanted, ticket=ticket, name=name)
        assert all(each.name != name for each in self.world.waiters.values()), "an unloaded archive has waiters"

    # People

    @rule(name=st.sampled_from(NAMES), is_pinned=st.booleans())
    def pin(self, name, is_pinned):
        if is_pinned:
            self.world.pins.add(name)
            self.tell(e.Pinned, name=name)
        else:
            self.world.pins.discard(name)
            self.tell(e.Unpinned, name=name)

    @rule(seconds=st.sampled_from([1.0, 20.0]))
    def wait(self, seconds):
        self.world.now += seconds

    def teardown(self):
        """Everybody is answered in the end, and everything can be unloaded."""
        if not hasattr(self, "world") or self.world.is_broken:
            return
        world = self.world
        self.finish_everything()
        assert not world.waiters, "somebody is forgotten"
        assert not world.tickets, "an unload never ends"
        self.tell(e.Closed)
        self.finish_everything()
        assert not world.engine
        assert not world.inventory.steps
        assert not world.inventory.archives
        assert set(world.inventory.ledger.charged().values()) <= {0}, "bytes are left over"

    def finish_everything(self):
        world = self.world
        for _ in range(1000):
            if world.leases:
                self.give_back(world.leases[0])
            elif world.loading() or world.unloading():
                self.work()
            else:
                return
        raise AssertionError("loads and unloads never end")
