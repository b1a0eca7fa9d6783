"""What comes once with the first archives is overhead; what is wrong later on stays visible."""

import pytest

from server.residency.memory.baseline import WARM_UP_S, Baseline
from server.residency.memory.leak import Observation

MB = 1_000_000
OVERHEAD = 100 * MB


def after(*drifts, at=0.0, expected=50 * MB, baseline=None, **facts):
    """The baseline's shift after observations a second apart."""
    learner = baseline or Baseline()
    is_leaking = facts.pop("is_leaking", False)
    for second, drift in enumerate(drifts):
        seen = Observation(at + second, expected, expected + drift, **facts)
        learner.add(seen, OVERHEAD, is_leaking=is_leaking)
    return learner.shift_bytes


def test_it_follows_what_comes_while_the_server_warms_up():
    assert after(*[MB * each for each in range(20)] + [20 * MB] * 9) == 20 * MB


def test_one_odd_look_does_not_move_it():
    assert after(*[20 * MB] * 5, 45 * MB) == 20 * MB


def test_it_stays_once_the_server_is_warm():
    baseline = Baseline()
    after(*[20 * MB] * 9, baseline=baseline)
    assert after(*[40 * MB] * 50, at=WARM_UP_S + 1, baseline=baseline) == 20 * MB


def test_where_nothing_is_loaded_all_is_overhead():
    baseline = Baseline()
    after(*[20 * MB] * 9, baseline=baseline)
    assert after(25 * MB, at=WARM_UP_S + 1, expected=0, baseline=baseline) == 25 * MB


@pytest.mark.parametrize("facts", [{"is_disturbed": True}, {"is_leaking": True}], ids=["disturbed", "leaking"])
def test_it_learns_nothing_from_looks_that_say_nothing(facts):
    assert after(*[20 * MB] * 9, **facts) == 0


def test_it_hides_neither_too_small_footprints_nor_too_large_ones():
    assert after(*[90 * MB] * 9) == OVERHEAD // 2
    assert after(*[-20 * MB] * 9) == 0
