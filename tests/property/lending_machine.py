"""The planner's machine with front-end workers in it, who keep leases, use them on their own, and are called back."""

from collections.abc import Sequence
from types import ModuleType

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.residency.planning import events as e
from tests.property.planner_books import Lease
from tests.property.planner_machine import ANY, ARCHIVES, POLICIES, machine_for, pick


class _LendingRules:
    @precondition(lambda self: self.world.residents)
    @rule(which=ANY)
    def lend(self, which):
        archive = self.world.residents[pick(sorted(self.world.residents), which)]
        record = self.world.planner.lend(archive)
        if record is None:
            assert self.world.inventory.leasable.get(archive.name) is not self.world.inventory.archives[archive.key]
            return
        assert str(record.state) == "resident", "a leaving archive is lent"
        assert record.archive.key == archive.key
        self.world.leases.append(Lease(record, archive.key, is_lent=True, is_quiet=True))

    @precondition(lambda self: self.world.residents)
    @rule(key=st.sampled_from(sorted(ARCHIVES)))
    def want_beside_lent(self, key):
        """Somebody wants room, and all there is was lent."""
        for which in range(len(self.world.residents)):
            self.lend(which)
        self.want(key)

    def lent(self):
        return [lease for lease in self.world.leases if lease.is_lent]

    @precondition(lambda self: self.lent())
    @rule(which=ANY, uses=st.integers(1, 3), is_quiet=st.booleans())
    def use(self, which, uses, is_quiet):
        """A worker reports: it may be done with it, or at it still."""
        lease, world = pick(self.lent(), which), self.world
        world.now += 1.0
        world.planner.used(lease.record, uses, world.now, 0.5)
        if not lease.is_void:
            world.last_used[lease.key] = (world.now, lease.record.admission)
        if lease.is_quiet != is_quiet:
            lease.is_quiet = is_quiet
            self.tell_if(world.planner.rest(lease.record, is_quiet=is_quiet))

    @precondition(lambda self: any(str(lease.record.state) != "resident" for lease in self.lent()))
    @rule(which=ANY)
    def call_back(self, which):
        """The worker heard that the archive is to leave."""
        self.give_back(pick([each for each in self.lent() if str(each.record.state) != "resident"], which))

    def give_back(self, lease: Lease):
        if not lease.is_lent:
            super().give_back(lease)
            return
        self.world.leases.remove(lease)
        self.tell_if(self.world.planner.take_back(lease.record, was_quiet=lease.is_quiet))

    def tell_if(self, is_due: bool):
        if is_due:
            self.tell(e.Idle)
        else:
            self.world.check()

    @invariant()
    def every_lease_is_counted(self):
        if not hasattr(self, "world"):
            return
        for record in self.world.inventory.archives.values():
            held = [lease for lease in self.world.leases if lease.record is record and not lease.is_void]
            if not any(lease.is_void for lease in self.world.leases if lease.record is record):
                assert record.leases == len(held), "the planner counts other leases than there are"
                assert record.quiet == sum(lease.is_quiet for lease in held), "it counts others as quiet"


def lending_machine_for(planner_module: ModuleType, policies: Sequence[str] = POLICIES) -> type[RuleBasedStateMachine]:
    """The machine, for the planner or for a copy of it with a bug."""

    class LendingMachine(_LendingRules, machine_for(planner_module, policies)):
        pass

    return LendingMachine
