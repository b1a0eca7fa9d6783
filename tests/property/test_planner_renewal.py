"""Planned restarts of the engine, at any moment of the planner's life; and bugs in them, each planted alone.

- a lease is out when the engine is restarted
- the engine is restarted under a load
- leases are given while it drains
- loads begin while it drains
- what was resident is forgotten
- who waits comes last
- the least valuable come back first
- what comes back counts as used
- a drain that is called off leaves nobody serving
- who waits for what comes back is forgotten
"""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from server.residency.planning import planner
from tests.property.planted_planner import plant
from tests.property.renewal_world import renewal_machine_for
from tests.property.test_planner_catches_planted_bugs import HUNT

TestPlannerRenewal = renewal_machine_for(planner).TestCase
TestPlannerRenewal.settings = settings(max_examples=25, stateful_step_count=40)

BUGS = {
    "a lease is out when the engine is restarted": ("renewal", "if is_used or any(", "if any("),
    "the engine is restarted under a load": (
        "renewal",
        "_IN_FLIGHT: Final = {StepState.LOADING,",
        "_IN_FLIGHT: Final = {",
    ),
    "leases are given while it drains": ("renewal", "house.inventory.drain(record, DEPARTURE)", "pass"),
    "loads begin while it drains": (
        "planner",
        "            if self.house.renewal is None:\n                self._start()",
        "            self._start()",
    ),
    "what was resident is forgotten": (
        "renewal",
        "_order(house, inventory.in_state(ArchiveState.DRAINING)):",
        "_order(house, inventory.in_state(ArchiveState.DRAINING))[:1]:",
    ),
    "who waits comes last": ("renewal", "not house.waiting.is_awaited(", "house.waiting.is_awaited("),
    "the least valuable come back first": ("renewal", "[::-1]", ""),
    "what comes back counts as used": ("inventory", "if not record.is_recalled:", "if record:"),
    "a drain that is called off leaves nobody serving": ("renewal", "house.renewal = None\n        for", "for"),
    "who waits for what comes back is forgotten": (
        "renewal",
        "house.waiting.board(record.archive.key)",
        "house.waiting.dismiss(record.archive.key)",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_renewals_is_caught(bug):
    planted = plant(*BUGS[bug])
    with pytest.raises(Exception):  # noqa: B017 an assertion, a Bug, or whatever the bug leads to
        run_state_machine_as_test(renewal_machine_for(planted), settings=HUNT)


def test_the_list_of_bugs_above_is_true():
    assert [line.removeprefix("- ") for line in __doc__.splitlines() if line.startswith("- ")] == list(BUGS)
