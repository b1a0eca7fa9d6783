"""The host tier's accounts: never over budget, a file once, in order of use; and planted bugs that this notices."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from server.domain.model import StepDigest
from server.store.host.ledger import Change, HostLedger
from tests.property import hunting

SIZES = {(1, inode): size for inode, size in enumerate((1, 2, 3, 5, 8, 13))}
STEPS = {
    "a": (0, 3),
    "b": (1, 3),
    "c": (2,),
    "d": (4, 0),
    "e": (5, 3, 1),
    "whale": (0, 1, 2, 3, 4, 5),
}
"""Which files each step has; some are shared."""


def files_of(name):
    return {(1, inode): SIZES[1, inode] for inode in STEPS[name]}


def bytes_of(names):
    return sum(SIZES[file] for file in {file for name in names for file in files_of(name)})


class Accounts(RuleBasedStateMachine):
    """Holds a ledger to a model that counts everything anew. `kind` is the ledger's class."""

    kind = HostLedger

    def __init__(self):
        super().__init__()
        self.ledger = self.kind(20)
        self.order = []

    @rule(name=st.sampled_from(sorted(STEPS)))
    def keep(self, name):
        before, present = list(self.order), self.present()
        change = self.ledger.keep(StepDigest(name), files_of(name))
        fits = name in before or bytes_of([name]) <= self.ledger.budget_bytes
        assert change.is_kept == fits
        left = list(change.steps_left)
        if not fits:
            assert left == []
            return
        self.order = [each for each in before if each not in left and each != name] + [name]
        assert left == [each for each in before if each != name][: len(left)], "those wanted longest ago leave first"
        if left:
            assert bytes_of([left[-1], *self.order]) > self.ledger.budget_bytes, "the last one need not have left"
        self.told(present, change)

    @rule(name=st.sampled_from(sorted(STEPS)))
    def touch(self, name):
        self.ledger.touch(StepDigest(name))
        if name in self.order:
            self.order.remove(name)
            self.order.append(name)

    @rule(name=st.sampled_from(sorted(STEPS)))
    def drop(self, name):
        present = self.present()
        gone = self.ledger.drop(StepDigest(name))
        if name in self.order:
            self.order.remove(name)
        self.told(present, Change(is_kept=True, files_left=gone))

    @rule(budget=st.integers(0, 40))
    def resize(self, budget):
        before, present = list(self.order), self.present()
        change = self.ledger.resize(budget)
        self.order = before[len(change.steps_left) :]
        assert list(change.steps_left) == before[: len(change.steps_left)]
        self.told(present, change)

    def present(self):
        return {file for name in self.order for file in files_of(name)}

    def told(self, before, change):
        assert change.files_left == before - self.present(), "exactly what nobody has any more is let go"

    @invariant()
    def adds_up(self):
        assert list(self.ledger) == self.order
        assert self.ledger.used_bytes == bytes_of(self.order), "a file counts once"
        assert self.ledger.used_bytes <= self.ledger.budget_bytes


class CountsTwice(HostLedger):
    """A bug: a shared file is charged for each step."""

    def keep(self, digest, files):
        is_new = digest not in self
        shared = sum(size for file, size in files.items() if self._links[file])
        change = super().keep(digest, files)
        self.used_bytes += shared if is_new and change.is_kept and not change.steps_left else 0
        return change


class Overdraws(HostLedger):
    """A bug: what arrives is not counted when room is made."""

    def _extra(self, files):
        return 0


class LosesTheOrder(HostLedger):
    """A bug: a use is not noticed."""

    def touch(self, digest):
        """Nothing."""


class LetsGoOfSharedFiles(HostLedger):
    """A bug: files go with the first step that leaves."""

    def drop(self, digest):
        files = frozenset(self._steps.get(digest, {}))
        super().drop(digest)
        return files


class KeepsFilesOfThoseWhoLeft(HostLedger):
    """A bug: who makes room is forgotten, and its files stay."""

    def keep(self, digest, files):
        change = super().keep(digest, files)
        return Change(change.is_kept, change.steps_left)


class EvictsForWhales(HostLedger):
    """A bug: others leave for a step that does not fit anyway."""

    def keep(self, digest, files):
        if sum(files.values()) > self.budget_bytes and digest not in self:
            budget = self.budget_bytes
            left = self.resize(0)
            self.budget_bytes = budget
            return Change(is_kept=False, steps_left=left.steps_left, files_left=left.files_left)
        return super().keep(digest, files)


HUNT = settings(hunting.HUNT, max_examples=30, stateful_step_count=20)


def test_the_accounts_add_up():
    run_state_machine_as_test(Accounts, settings=HUNT)


@pytest.mark.parametrize(
    "kind",
    [CountsTwice, Overdraws, LosesTheOrder, LetsGoOfSharedFiles, KeepsFilesOfThoseWhoLeft, EvictsForWhales],
    ids=lambda kind: kind.__name__,
)
def test_a_planted_bug_is_noticed(kind):
    machine = type("Planted", (Accounts,), {"kind": kind})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=settings(HUNT, max_examples=hunting.AT_MOST))
