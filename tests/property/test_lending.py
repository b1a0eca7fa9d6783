"""Leases that workers keep, against everything that the planner's world can do; and whether bugs in it are noticed.

- a lent archive is evicted before it is back
- a lease that came back stays counted
- a lease that came back counts as quiet
- a leaving archive is lent
- nobody hears that a lease came back
"""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from server.residency.planning import planner
from tests.property import hunting
from tests.property.lending_machine import lending_machine_for
from tests.property.planted_planner import plant

HUNT = settings(hunting.HUNT, max_examples=30, stateful_step_count=40)
BUGS = {
    "a lent archive is evicted before it is back": ("pool", "if victim.leases:", "if victim.leases > victim.quiet:"),
    "a lease that came back stays counted": ("lent", "record.leases -= 1", "pass"),
    "a lease that came back counts as quiet": ("lent", "record.quiet -= was_quiet", "pass"),
    "a leaving archive is lent": (
        "lent",
        "house.inventory.leasable.get(archive.name)",
        "house.inventory.archives.get(archive.key)",
    ),
    "nobody hears that a lease came back": (
        "planner",
        "return lent.take_back(record, was_quiet=was_quiet) and",
        "return lent.take_back(record, was_quiet=was_quiet) and not",
    ),
}

TestLending = lending_machine_for(planner).TestCase
TestLending.settings = settings(stateful_step_count=40, max_examples=15)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug):
    planted = plant(*BUGS[bug])
    with pytest.raises(Exception):  # noqa: B017 an assertion, a Bug, or whatever the bug leads to
        run_state_machine_as_test(lending_machine_for(planted), settings=settings(HUNT, max_examples=hunting.AT_MOST))


def test_the_list_of_bugs_above_is_true():
    assert [line.removeprefix("- ") for line in __doc__.splitlines() if line.startswith("- ")] == list(BUGS)


def test_the_same_hunt_finds_nothing_in_the_real_planner():
    run_state_machine_as_test(lending_machine_for(planner), settings=HUNT)
