"""Workers and their home against what may happen between them; and whether bugs in that are noticed.

- a lease is used after it was given back
- a lease is given back while it is in use
- a lease is given back as soon as the worker has heard of it
- a dead worker's leases are kept
- an idle lease is kept
- a lease is called back from the first worker only
"""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from server.workers.front import held, worker
from server.workers.home import desk, lent_out
from tests.property import hunting
from tests.property.planted_planner import plant_in
from tests.property.workers_machine import MODULES, workers_machine_for

HUNT = settings(hunting.HUNT, max_examples=40, stateful_step_count=40)
BUGS = {
    "a lease is used after it was given back": (
        "held",
        "            del self._by_address[address]\n",
        "            pass\n",
    ),
    "a lease is given back while it is in use": ("held", "        if held.running:\n            return False\n", ""),
    "a lease is given back as soon as the worker has heard of it": (
        "desk",
        "counter.lent.stopped(word.leases, self._now())",
        "[loan.give_back() for loan in counter.lent.returned(word.leases)]",
    ),
    "a dead worker's leases are kept": ("desk", "for loan in counter.lent.died():", "for loan in ():"),
    "an idle lease is kept": ("worker", "self._return(self._held.left_alone(self._now()))", "pass"),
    "a lease is called back from the first worker only": (
        "desk",
        "self._call(counter, lambda lent: lent.loan.is_called_back)",
        "self._call(self._counters[0], lambda lent: lent.loan.is_called_back)",
    ),
}

TestWorkerLeases = workers_machine_for([held, lent_out, desk, worker]).TestCase
TestWorkerLeases.settings = settings(stateful_step_count=50, max_examples=25)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug):
    planted = plant_in(MODULES, *BUGS[bug])
    with pytest.raises(Exception):  # noqa: B017 an assertion, or whatever the bug leads to
        run_state_machine_as_test(workers_machine_for(planted), settings=settings(HUNT, max_examples=hunting.AT_MOST))


def test_the_list_of_bugs_above_is_true():
    assert [line.removeprefix("- ") for line in __doc__.splitlines() if line.startswith("- ")] == list(BUGS)


def test_the_same_hunt_finds_nothing_in_the_real_ones():
    run_state_machine_as_test(workers_machine_for([held, lent_out, desk, worker]), settings=HUNT)
