"""When memory counts as leaked: never for noise, always for what goes on; and bugs, each planted alone.

- a few observations ring
- a leak is never found
- noise rings
- charges are not told apart
- the last observations alone are looked at
"""

import random
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.residency.memory import leak
from server.residency.memory.leak import REACH, WINDOW, LeakWatch, Observation

MB = 1_000_000
LEAST = 10 * MB
CHARGE = 400 * MB


def observations(drifts, charges=None):
    charges = charges or [CHARGE] * len(drifts)
    return [
        Observation(float(at), charge, charge + drift)
        for at, (drift, charge) in enumerate(zip(drifts, charges, strict=True))
    ]


def rings_after(drifts, charges=None, module=leak):
    """After how many observations the alarm rings; None: never."""
    watch = module.LeakWatch(LEAST)
    for count, seen in enumerate(observations(drifts, charges), 1):
        if watch.add(seen):
            return count
    return None


@settings(max_examples=50)
@given(st.lists(st.integers(-LEAST // 2, LEAST // 2), min_size=1, max_size=300), st.integers(-CHARGE // 2, CHARGE // 2))
def test_no_alarm_on_noise_of_any_shape_about_any_level(noise, level):
    """Bounded by half of what counts as a leak: then no rise can be seen in it, whoever chose it."""
    assert rings_after([level + each for each in noise]) is None


@settings(max_examples=30)
@given(
    per_unload=st.integers(20_000, 5 * MB),
    amplitude=st.integers(0, MB),
    before=st.integers(0, 400),
    seed=st.integers(0, 999),
)
def test_an_alarm_on_every_steady_leak_before_it_is_large(per_unload, amplitude, before, seed):
    """At the latest when six times the least leak is lost, and a window of the right reach has been filled."""
    noise = random.Random(seed)
    drifts = [noise.randint(-amplitude, amplitude) for _ in range(before)]
    lost = 0
    latest = int(6 * LEAST / per_unload) + 2 * WINDOW + before // 2
    for _ in range(latest):
        lost += per_unload
        drifts.append(lost + noise.randint(-amplitude, amplitude))

    found = rings_after(drifts)

    assert found is not None
    assert found > before, "it rang before anything leaked"


def test_an_alarm_rings_once_and_tells_how_much():
    watch = LeakWatch(LEAST)
    rung = [watch.add(seen) for seen in observations([MB * each for each in range(100)])]

    assert rung.count(True) == 1
    assert watch.is_leaking
    assert watch.leaked_bytes == pytest.approx(WINDOW * 2.5 * MB, rel=0.9)
    assert len(watch.recent) == WINDOW
    assert watch.recent[-1].drift_bytes == 99 * MB


def test_a_single_jump_is_no_leak():
    assert rings_after([0] * 60 + [50 * MB] * 400) is None


def test_single_outliers_are_no_leak():
    assert rings_after([300 * MB * (each % 7 == 3) for each in range(400)]) is None


def test_a_drift_that_follows_the_charge_is_no_leak():
    """Footprints that are 5 % too small show as more drift while the house fills, and are no leak."""
    charges = [each * 10 * MB for each in range(1, 60)]
    assert rings_after([charge // 20 for charge in charges], charges) is None


def test_a_leak_is_seen_at_one_of_several_charges():
    charges = [CHARGE if each % 2 else CHARGE // 4 for each in range(200)]
    assert rings_after([MB // 2 * each for each in range(200)], charges) is not None


def test_nothing_is_said_of_a_few_observations():
    assert rings_after([100 * MB * each for each in range(leak.LEAST - 1)]) is None


@pytest.mark.parametrize("quiet", [0, 5_000])
def test_a_slow_leak_is_found_by_a_window_of_longer_reach(quiet):
    """Much less than noise within the last observations; and no matter how long there was none."""
    noise = random.Random(5)
    drifts = [noise.randint(-MB, MB) for _ in range(quiet)]
    drifts += [60_000 * each + noise.randint(-MB, MB) for each in range(WINDOW * REACH**2)]

    found = rings_after(drifts)

    assert found is not None
    assert (found - quiet) * 60_000 < 4 * LEAST


def planted(old, new):
    source = Path(leak.__file__).read_text()
    assert source.count(old) == 1
    module = ModuleType("planted_leak")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(source.replace(old, new), "planted leak", "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module


WHAT_SHOWS_IT = {
    "a few observations ring": (
        ("if len(drifts) < LEAST:", "if len(drifts) < 6:"),
        [100 * MB * each for each in range(leak.LEAST - 1)],
        None,
        False,
    ),
    "a leak is never found": (
        ("slope = median((later", "slope = 0 * median((later"),
        [MB * each for each in range(200)],
        None,
        True,
    ),
    "noise rings": (
        ("if rise > max(noise, least_bytes)", "if rise > least_bytes"),
        [random.Random(each).randint(-60 * MB, 60 * MB) for each in range(300)],
        None,
        False,
    ),
    "charges are not told apart": (
        ("<= EQUAL_SHARE * charge]", "<= 99 * charge]"),
        [each * MB // 2 for each in range(1, 60)],
        [each * 10 * MB for each in range(1, 60)],
        False,
    ),
    "the last observations alone are looked at": (
        ("WINDOWS: Final = 8", "WINDOWS: Final = 1"),
        [60_000 * each for each in range(WINDOW * REACH**2)],
        None,
        True,
    ),
}


@pytest.mark.parametrize("bug", WHAT_SHOWS_IT)
def test_a_planted_bug_is_seen(bug):
    change, drifts, charges, is_leak = WHAT_SHOWS_IT[bug]

    assert (rings_after(drifts, charges) is not None) == is_leak
    assert (rings_after(drifts, charges, planted(*change)) is not None) != is_leak
