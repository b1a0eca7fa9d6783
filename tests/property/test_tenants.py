"""Groups, priorities, patience, orders and passing: the promises as a state machine, and bugs that it must notice.

- a leased archive is evicted
- a step is loaded twice at once
- a budget is exceeded
- a quota is exceeded
- a quota does not count what is leaving
- a group at its quota has others evicted
- the highest priority leaves first
- a higher priority leaves for a lower one
- small archives starve a large one
- a waiter is forgotten
- patience disturbs urgent traffic
- patience has new arrivals evicted
- patience drains what is leased
- an order is never void
- an order goes with a waiter
- any number of orders
"""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from server.residency.planning import planner
from tests.property import hunting
from tests.property.planted_planner import plant
from tests.property.tenants_machine import tenants_machine

TestTenants = tenants_machine(planner).TestCase
TestTenants.settings = settings(max_examples=60, stateful_step_count=40)

HUNT = settings(hunting.HUNT, max_examples=150, stateful_step_count=40)
BUGS = {
    "a leased archive is evicted": ("pool", "if victim.leases:", "if not victim:"),
    "a step is loaded twice at once": (
        "inventory",
        "self.steps.get(step.digest) or self._reserve(step)",
        "self._reserve(step)",
    ),
    "a budget is exceeded": ("claims", "if is_covered and can_begin:", "if is_covered:"),
    "a quota is exceeded": ("claims", " and self._has_group_room(archive)", ""),
    "a quota does not count what is leaving": ("quotas", "self._present.add(digest)", "pass"),
    "a group at its quota has others evicted": (
        "candidates",
        "if group is not None and terms.group != group:",
        "if 0:",
    ),
    "the highest priority leaves first": (
        "candidates",
        "lower = [ranks for priority, ranks in sorted(shelves.items())",
        "lower = [ranks for priority, ranks in sorted(shelves.items(), reverse=True)",
    ),
    "a higher priority leaves for a lower one": (
        "candidates",
        "order = [ranks[rank] for ranks in lower for rank in AT_REST]",
        "order = [ranks[rank] for _, ranks in sorted(shelves.items()) for rank in AT_REST]",
    ),
    "small archives starve a large one": ("claims", "passes.get(key, 0) < most", "passes.get(key, 0) < 99"),
    "a waiter is forgotten": (
        "waiting",
        "waiters = self._waiters.pop(key, [])",
        "waiters = self._waiters.pop(key, [])[:1]",
    ),
    "patience disturbs urgent traffic": ("candidates", " if each.urgently_used_at <= house.spared_from]", "]"),
    "patience has new arrivals evicted": (
        "candidates",
        "each for each in ranks[IDLE]",
        "each for each in ranks[IDLE] + ranks[GUARDED]",
    ),
    "patience drains what is leased": (
        "claims",
        "is_first = is_urgent and not self._blocked\n        own =",
        "is_first = not self._blocked\n        own =",
    ),
    "an order is never void": ("waiting", "if until <= at", "if until <= 0"),
    "an order goes with a waiter": (
        "waiting",
        "if self._waiters[key] or key in self.orders:",
        "if self._waiters[key]:",
    ),
    "any number of orders": ("wishes", ">= house.options.max_orders", ">= 99"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug):
    planted = plant(*BUGS[bug])
    with pytest.raises(Exception):  # noqa: B017 an assertion, a Bug, or whatever the bug leads to
        run_state_machine_as_test(tenants_machine(planted), settings=HUNT)


def test_the_list_of_bugs_above_is_true():
    assert [line.removeprefix("- ") for line in __doc__.splitlines() if line.startswith("- ")] == list(BUGS)
