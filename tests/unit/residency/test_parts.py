import pytest

from server.domain.errors import Bug
from server.domain.model import CPU, Footprint
from server.residency.options import ResidencyOptions
from server.residency.planning import planner
from server.residency.planning.events import StepLoaded, Wanted
from server.residency.planning.ledger import Ledger
from server.residency.planning.planner import Planner
from server.residency.planning.states import (
    ARCHIVE_TABLE,
    STEP_TABLE,
    ArchiveMove,
    ArchiveState,
    StepMove,
    StepState,
    archive_after,
    step_after,
)
from tests.fakes.source import archive, digest_of


def test_moves_that_are_not_in_the_tables_are_bugs():
    with pytest.raises(Bug):
        step_after(StepState.ABSENT, StepMove.UNLOAD)
    with pytest.raises(Bug):
        archive_after(ArchiveState.LOADING, ArchiveMove.DRAIN)


def test_the_drawing_names_every_state_and_move():
    drawing = planner.__doc__
    words = [*StepState, *StepMove, *ArchiveState, *ArchiveMove]
    assert [str(word) for word in words if str(word) not in drawing] == []


def test_every_state_can_be_reached_and_left():
    for table in (STEP_TABLE, ARCHIVE_TABLE):
        assert {state for state, _ in table} == set(table.values())


def test_a_device_without_a_budget_is_counted_and_not_limited():
    ledger = Ledger({CPU: 10})
    ledger.charge(digest_of("a"), Footprint({CPU: 4, "gpu:0": 99}))
    assert dict(ledger.charged()) == {CPU: 4, "gpu:0": 99}
    assert ledger.free() == {CPU: 6}
    assert not ledger.is_over


def test_releasing_what_was_not_charged_is_a_bug():
    with pytest.raises(Bug):
        Ledger({}).release(digest_of("a"))


class CheapestToLoad:
    """All that another policy takes."""

    name = "cheapest"
    age = 0.0

    def arrived(self, record):
        pass

    def value(self, record):
        return record.load_s

    def order(self, records):
        return iter(sorted(records, key=self.value))

    def explain(self, record, at):
        return f"took {record.load_s} s"

    def evicted(self, record):
        pass

    def departed(self, record):
        pass


def test_a_policy_is_one_small_class():
    predicted = Footprint({CPU: 10})
    planned = Planner({CPU: 30}, lambda _: predicted, ResidencyOptions())
    planned.house.policy = CheapestToLoad()
    for at, name in enumerate(["costly", "often", "often", "cheap", "new"]):
        wanted = archive(name)
        planned.handle(Wanted(float(at), at, wanted))
        if name == "new":
            break
        loading_s = 0.5 if name == "costly" else 0.01
        if wanted.key not in planned.house.inventory.leasable and planned.house.inventory.loading:
            planned.handle(StepLoaded(at + loading_s, wanted.entry, predicted))
        planned.release(planned.house.inventory.leasable[name], at + loading_s)
    assert [each.name for each in planned.house.decisions] == ["cheap"]
