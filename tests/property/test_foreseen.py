"""Nobody leaves for a guess: what is loaded unasked goes into room that is free, whatever else happens. And bugs."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from server.residency.planning import commands as c
from server.residency.planning import events as e
from server.residency.planning import planner
from tests.property import hunting
from tests.property.planner_machine import ARCHIVES, machine_for
from tests.property.planted_planner import plant

HUNT = settings(hunting.HUNT, max_examples=25, stateful_step_count=20)
BUGS = {
    "others leave for a guess": ("foreseen", "    if has_spare_room(house, event.archive):\n", "    if True:\n"),
    "a guess is loaded beside somebody who waits": ("foreseen", "is_closed or is_busy or is_known", "is_closed"),
    "a guess counts as asked for": ("foreseen", "house.asked.discard(", "house.asked.add("),
}


def machine_with_guesses(module):
    """The planner's machine, with one more thing that may happen."""

    class Guessing(machine_for(module, ["lru"])):
        @rule(key=st.sampled_from(sorted(ARCHIVES)))
        def foresee(self, key):
            world = self.world
            is_awaited = bool(world.waiters)
            commands = self.tell(e.Foreseen, archive=ARCHIVES[key])
            assert not any(isinstance(each, c.Departed | c.Unload | c.Refuse) for each in commands)
            loads = any(isinstance(each, c.Load) for each in commands)
            assert not (loads and is_awaited), "a guess is loaded while somebody waits"
            if loads:
                assert ARCHIVES[key].name not in world.planner.house.asked, "it would count as used"

    return Guessing


def test_nobody_leaves_for_a_guess():
    run_state_machine_as_test(machine_with_guesses(planner), settings=HUNT)


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_planted_bug_is_noticed(bug):
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine_with_guesses(plant(*BUGS[bug])), settings=settings(HUNT, max_examples=hunting.AT_MOST)
        )
