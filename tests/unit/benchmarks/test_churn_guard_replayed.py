"""In a replay too, what was just loaded leaves only if nothing else can; on traces small enough to work out by hand."""

import numpy as np
import pytest

from benchmarks.simulation.policies import POLICIES, Load, Setting
from benchmarks.simulation.replay import ChurnGuard, replay
from benchmarks.traffic.trace import Archive, Part, Trace

FOUR = tuple(Archive(name, "", (Part(name, 1, 0.0),)) for name in "abcd")


def misses(letters, policy, guard_s, slots=2):
    asked = np.array(["abcd".index(letter) for letter in letters])
    trace = Trace(np.arange(float(len(asked))), asked, FOUR)
    return replay(trace, FOUR, POLICIES[policy], slots, churn_guard_s=guard_s).misses


def test_the_guard_makes_an_older_archive_leave_that_lru_would_keep():
    # At c: b was loaded 2 s ago and a 3 s ago, but a was used since. Lru lets b go; guarded for 2.5 s, a goes.
    assert misses("abacb", "lru", 0.0) == 4
    assert misses("abacb", "lru", 2.5) == 3
    assert misses("abaca", "lru", 2.5) == 4


@pytest.mark.parametrize("policy", POLICIES)
def test_where_everything_is_guarded_something_leaves_all_the_same(policy):
    assert misses("abcdabcd", policy, 100.0) >= 4
    assert misses("aabbccddaabb", policy, 100.0, slots=1) == 6


@pytest.mark.parametrize("policy", POLICIES)
def test_a_victim_is_none_of_the_spared_and_the_spared_keep_their_turn(policy):
    made = POLICIES[policy](Setting(10, 6, list(range(1, 40))))
    for archive in range(5):
        made.loaded(archive, archive, Load(1, 1.0 + archive))
        made.used(archive, 10 + archive)
    unhindered = POLICIES[policy](Setting(10, 6, list(range(1, 40))))
    for archive in range(5):
        unhindered.loaded(archive, archive, Load(1, 1.0 + archive))
        unhindered.used(archive, 10 + archive)
    order = [unhindered.victim(20) for _ in range(5)]
    assert made.victim(20, {order[0], order[2]}) == order[1]
    assert [made.victim(20, {order[2]}), made.victim(20), made.victim(20), made.victim(20)] == [
        order[0],
        order[2],
        order[3],
        order[4],
    ]


def test_a_guard_ends_with_its_time_and_guards_nobody_where_it_is_off():
    guard, off = ChurnGuard(5.0), ChurnGuard(0.0)
    for each in (guard, off):
        each.loaded(1, 10.0)
        each.loaded(2, 12.0)
    assert set(guard.spared(14.9)) == {1, 2}
    assert set(guard.spared(15.0)) == {2}
    assert set(off.spared(12.0)) == set()
