"""Promises of the simulator and its policies, whatever is asked for."""

import io
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulation.bounds import floor
from benchmarks.simulation.memory import Memory
from benchmarks.simulation.policies import OFFLINE, POLICIES
from benchmarks.simulation.replay import replay
from benchmarks.traffic.access_log import read, write
from benchmarks.traffic.trace import Archive, Part, Trace, equal, unshared

asked = st.lists(st.integers(0, 7), min_size=1, max_size=60)
slots = st.integers(1, 8)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def trace_of(requests, archives):
    return Trace(np.arange(float(len(requests))), np.array(requests), archives)


@st.composite
def sharing_fleets(draw):
    """Eight archives of up to three of five shared parts and one of their own."""
    shared = [Part(f"s{i}", draw(st.integers(0, 9)), float(draw(st.integers(0, 5)))) for i in range(5)]
    return tuple(
        Archive(
            f"a{i}",
            "g",
            (
                *draw(st.lists(st.sampled_from(shared), max_size=3, unique_by=lambda part: part.digest)),
                Part(f"own{i}", draw(st.integers(1, 9)), float(draw(st.integers(0, 5)))),
            ),
        )
        for i in range(8)
    )


@given(asked, slots)
def test_with_equal_sizes_no_policy_beats_the_optimum(requests, budget):
    trace = trace_of(requests, equal(8))
    best = replay(trace, trace.archives, POLICIES["belady"], budget)
    for policy in POLICIES.values():
        assert replay(trace, trace.archives, policy, budget).misses >= best.misses
    assert floor(trace, trace.archives, budget).miss_ratio <= best.miss_ratio + 1e-9


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(1, 3))
def test_the_optimum_is_what_trying_everything_finds(requests, budget):
    trace = trace_of(requests, equal(4))
    states = {frozenset(): 0}
    for archive in requests:
        following = {}
        for state, missed in states.items():
            for held, cost in steps(state, archive, budget):
                following[held] = min(following.get(held, 99), missed + cost)
        states = following
    assert replay(trace, trace.archives, POLICIES["belady"], budget).misses == min(states.values())


def steps(state, archive, budget):
    if archive in state:
        yield state, 0
    elif len(state) < budget:
        yield state | {archive}, 1
    else:
        yield from ((state - {leaves} | {archive}, 1) for leaves in state)


@given(asked, slots)
def test_lru_holds_the_most_recently_used_and_more_slots_hold_no_less(requests, budget):
    trace = trace_of(requests, equal(8))
    small, large = (replay(trace, trace.archives, POLICIES["lru"], size) for size in (budget, budget + 1))
    recent = list(OrderedDict.fromkeys(reversed(requests)))
    assert small.resident == set(recent[:budget])
    assert small.resident <= large.resident
    assert small.misses >= large.misses


@given(sharing_fleets(), asked, st.integers(1, 60), st.sampled_from(sorted(POLICIES)))
def test_figures_add_up_and_no_budget_is_exceeded(archives, requests, budget, policy):
    trace = trace_of(requests, archives)
    outcome = replay(trace, archives, POLICIES[policy], budget)
    memory = Memory(archives)
    for archive in outcome.resident:
        memory.hold(archive)
    assert memory.used <= budget
    assert outcome.misses - outcome.evictions == len(outcome.resident)
    assert outcome.requests == len(requests)
    assert outcome.refused == sum(archives[archive].bytes > budget for archive in requests)
    for archive in outcome.resident:
        memory.release(archive)
    assert memory.used == 0


@given(sharing_fleets(), asked, st.integers(1, 60), st.sampled_from(sorted(POLICIES)), st.booleans())
def test_nothing_beats_the_floor(archives, requests, budget, policy, is_shared):
    chosen = archives if is_shared else unshared(archives)
    trace = trace_of(requests, archives)
    outcome, least = replay(trace, chosen, POLICIES[policy], budget), floor(trace, chosen, budget)
    assert outcome.load_seconds >= least.load_seconds - 1e-6
    assert outcome.miss_ratio >= least.miss_ratio - 1e-9


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - OFFLINE))
@given(requests=asked, more=asked, budget=slots)
def test_only_the_offline_policies_know_the_future(policy, requests, more, budget):
    alone, longer = trace_of(requests, equal(8)), trace_of(requests + more, equal(8))
    once = replay(alone, alone.archives, POLICIES[policy], budget)
    tail = replay(longer, longer.archives, POLICIES[policy], budget, warm_up=len(requests))
    both = replay(longer, longer.archives, POLICIES[policy], budget)
    assert once.misses + tail.misses == both.misses


@given(
    st.dictionaries(names, st.tuples(names, st.integers(0, 2**40), st.floats(0, 1e6)), min_size=1, max_size=5),
    st.data(),
)
def test_a_log_comes_back_as_it_was_written(said, data):
    base = Part("shared \u00e9\n", 5, 0.25)
    archives = tuple(
        Archive(name, group, (base, Part(f"own {name}", size, load_s))) for name, (group, size, load_s) in said.items()
    )
    rest = data.draw(st.lists(st.integers(0, len(archives) - 1), max_size=20))
    requests = np.array([*range(len(archives)), *rest])
    times = np.sort(data.draw(st.lists(st.floats(0, 2e9), min_size=len(requests), max_size=len(requests))))
    file = io.StringIO()
    write(Trace(times, requests, archives), file)
    back = read(file.getvalue().split("\n"))
    assert back.archives == archives
    assert np.array_equal(back.asked, requests)
    assert np.array_equal(back.times, times)
