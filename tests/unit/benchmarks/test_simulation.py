"""The simulator on traces small enough to work out by hand."""

import numpy as np
import pytest

from benchmarks.simulation.bounds import floor
from benchmarks.simulation.policies import POLICIES, Load, Setting
from benchmarks.simulation.replay import next_uses, replay
from benchmarks.simulation.sweep import content_bytes, gains, sweep
from benchmarks.traffic.arrivals import sessions
from benchmarks.traffic.fleet import asked_of, fleet
from benchmarks.traffic.popularity import zipf
from benchmarks.traffic.trace import Archive, Part, Trace, equal, unshared


def asked_for(letters, archives=None):
    asked = np.array([ord(letter) - ord("a") for letter in letters])
    return Trace(np.arange(float(len(asked))), asked, archives or equal(int(asked.max()) + 1))


def misses(letters, policy, slots):
    trace = asked_for(letters)
    return replay(trace, trace.archives, POLICIES[policy], slots).misses


def two_heads(base=10, head=1):
    shared = Part("base", base, 8.0)
    return tuple(Archive(name, "", (shared, Part(name, head, 1.0))) for name in "abcd")


@pytest.mark.parametrize(
    ("policy", "expected"), [("fifo", 5), ("lru", 4), ("s3-fifo", 4), ("gdsf", 4), ("belady", 4), ("belady-cost", 4)]
)
def test_what_is_used_again_and_again_stays_except_in_a_queue(policy, expected):
    # a b a a c a: two slots. Only fifo lets a go when c comes.
    assert misses("abaacad", policy, 2) == expected


def test_the_optimum_lets_go_what_is_needed_last():
    assert misses("abcab", "lru", 2) == 5
    assert misses("abcab", "belady", 2) == 4
    assert misses("abcdabcdabcd", "lru", 3) == 12
    assert misses("abcdabcdabcd", "belady", 3) == 6


def plain_belady(asked, slots):
    """The rule, word for word, slowly."""
    held, missed = set(), 0
    for at, archive in enumerate(asked):
        if archive in held:
            continue
        missed += 1
        if len(held) == slots:
            rest = asked[at:]
            held.remove(max(held, key=lambda one: rest.index(one) if one in rest else len(asked)))
        held.add(archive)
    return missed


@pytest.mark.parametrize("slots", [1, 5, 20, 70])
def test_the_optimum_is_beladys_rule_on_a_long_trace_too(slots):
    came = sessions(zipf(100, 0.9), 1500, 86400.0, seed=slots)
    trace = Trace(came.times, came.ranks, equal(100))
    found = replay(trace, trace.archives, POLICIES["belady"], slots).misses
    assert found == plain_belady(came.ranks.tolist(), slots)
    least = floor(trace, trace.archives, slots)
    assert 0.6 * found <= least.miss_ratio * 1500 <= found + 1e-6
    assert least.load_seconds == pytest.approx(least.miss_ratio * 1500)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_floors_hold_on_a_fleet_and_are_near_where_nothing_is_shared(is_shared, share):
    archives = fleet(6, 15, seed=1)
    trace = asked_of(sessions(zipf(90, 0.9), 3000, 86400.0, seed=1), archives, seed=1)
    chosen = archives if is_shared else unshared(archives)
    budget = int(share * content_bytes(trace))
    least, best = floor(trace, chosen, budget), replay(trace, chosen, POLICIES["belady-cost"], budget)
    assert least.load_seconds <= best.load_seconds
    assert is_shared or least.load_seconds >= 0.5 * best.load_seconds
    assert least.miss_ratio <= best.miss_ratio


def test_next_uses_look_ahead():
    assert next_uses(np.array([0, 1, 0, 2, 1])) == [2, 4, 10, 10, 10]


def test_gdsf_keeps_what_is_dear_to_load():
    archives = (Archive("dear", "", (Part("dear", 5, 50.0),)), *equal(3)[1:])
    trace = Trace(np.arange(4.0), np.array([0, 1, 2, 0]), archives)
    assert replay(trace, archives, POLICIES["gdsf"], 6).misses == 3
    assert replay(trace, archives, POLICIES["lru"], 6).misses == 4


def test_gdsf_ages_so_that_old_fame_fades():
    policy = POLICIES["gdsf"](Setting(2, 40, []))
    policy.loaded(0, 0, Load(1, 1.0))
    for at in range(5):
        policy.used(0, at)
    for newcomer in range(1, 40):
        policy.loaded(newcomer, newcomer, Load(1, 1.0))
        if policy.victim(newcomer) == 0:
            break
    assert newcomer == 6  # five uses more are worth five victims


def test_s3_fifo_shields_main_from_a_scan_and_remembers_who_left():
    policy = POLICIES["s3-fifo"](Setting(10, 30, []))
    for archive in (0, 1):
        policy.loaded(archive, archive, Load(1, 1.0))
    for _ in range(2):
        policy.used(0, 2)
    assert policy.victim(2) == 1  # 0 was used twice: it moved to main
    policy.loaded(1, 3, Load(1, 1.0))  # from the ghost straight into main
    for scanned in range(10, 16):
        policy.loaded(scanned, scanned, Load(1, 1.0))
    assert [policy.victim(20) for _ in range(5)] == [10, 11, 12, 13, 14]


def test_s3_fifo_wants_two_uses_before_it_moves_one_to_main():
    policy = POLICIES["s3-fifo"](Setting(10, 2, []))
    for archive in (0, 1):
        policy.loaded(archive, archive, Load(1, 1.0))
    policy.used(0, 2)
    assert policy.victim(2) == 0


def test_shared_parts_are_loaded_and_charged_once():
    trace = asked_for("abcabc", two_heads())
    shared = replay(trace, trace.archives, POLICIES["lru"], 13)
    assert (shared.misses, shared.bytes_moved, shared.load_seconds) == (3, 13, 11.0)
    apart = replay(trace, unshared(trace.archives), POLICIES["lru"], 13)
    assert (apart.misses, apart.bytes_moved, apart.load_seconds) == (6, 66, 54.0)


def test_a_base_stays_while_its_next_head_comes():
    trace = asked_for("abab", two_heads())
    outcome = replay(trace, trace.archives, POLICIES["lru"], 11)  # room for one head at a time
    assert (outcome.misses, outcome.evictions, outcome.bytes_moved) == (4, 3, 14)
    assert outcome.resident == {1}


def test_what_cannot_fit_is_refused_and_harms_no_one():
    archives = (*equal(2), Archive("huge", "", (Part("huge", 9, 1.0),)))
    trace = Trace(np.arange(5.0), np.array([0, 2, 1, 0, 2]), archives)
    outcome = replay(trace, archives, POLICIES["lru"], 2)
    assert (outcome.refused, outcome.misses, outcome.miss_ratio) == (2, 2, pytest.approx(2 / 3))
    assert floor(trace, archives, 2).miss_ratio == pytest.approx(2 / 3)


def test_the_warm_up_is_served_but_not_counted():
    trace = asked_for("abab")
    outcome = replay(trace, trace.archives, POLICIES["lru"], 2, warm_up=2)
    assert (outcome.requests, outcome.misses, outcome.miss_ratio) == (2, 0, 0.0)
    assert replay(trace, trace.archives, POLICIES["lru"], 2, warm_up=9).requests == 0


def test_the_document_has_waits_of_cold_and_of_all_requests():
    trace = asked_for("a" * 99 + "b", two_heads())
    said = replay(trace, trace.archives, POLICIES["lru"], 100).document()
    assert said["cold_start_p50_s"] == pytest.approx(5.0)  # 9 s for base and head, 1 s for the second head
    assert said["cold_start_p99_s"] == pytest.approx(8.92)
    assert said["load_seconds_per_100_requests"] == pytest.approx(10.0)
    assert said["wait_p99_s"] < said["cold_start_p99_s"]


def test_the_floor_of_a_budget_for_everything_is_one_load_each():
    trace = asked_for("abcabc", two_heads())
    everything = floor(trace, trace.archives, content_bytes(trace))
    assert (everything.miss_ratio, everything.load_seconds) == (0.5, pytest.approx(11.0))


def test_a_sweep_has_a_row_for_each_and_says_how_far_from_the_optimum():
    trace = asked_for("abcdabcdaabb", two_heads())
    heard = []
    rows = sweep(trace, ["lru", "belady", "belady-cost"], [11, 12, 14], [False, True], heard.append)
    assert len(rows) == len(heard) == 18
    assert all(row["floor_load_seconds"] <= row["load_seconds"] + 1e-6 for row in rows)
    by = {(row["policy"], row["sharing"], row["budget_bytes"]): row for row in rows}
    assert by["belady", True, 12]["misses_to_belady"] == 1.0
    assert by["lru", True, 12]["misses_to_belady"] > 1.0
    assert by["lru", True, 14]["oversubscription"] == 1.0
    saved = {row["budget_bytes"]: row["load_seconds_change"] for row in gains(rows) if row["policy"] == "lru"}
    assert saved[14] < saved[12] < 0


def test_a_sweep_without_the_optimum_has_no_distance():
    (row,) = sweep(asked_for("ab"), ["lru"], [2], [True])
    assert row["misses_to_belady"] is None
    assert gains([row]) == []
