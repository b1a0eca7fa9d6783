"""A step runs on the event loop only while its runs show it quick."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.inference import InferenceRequest, Tensor
from server.engines.embedded.running.pace import EARNS_S, LEAST_S, MOST_S, PROOF, QUICK_S, Pace, size_of


def shown(size=100, runs=PROOF):
    pace = Pace()
    for _ in range(runs):
        pace.note(size, QUICK_S / 2)
    return pace


def test_quick_only_after_the_proof():
    pace = shown(100, PROOF - 1)
    assert not pace.is_quick(100)
    pace.note(100, QUICK_S / 2)
    assert pace.is_quick(100)


def test_larger_requests_than_were_shown_go_to_a_thread():
    pace = shown(100)
    assert not pace.is_quick(101)
    pace.note(101, QUICK_S / 2)
    assert pace.is_quick(101)


def test_a_slow_large_request_says_nothing_about_small_ones():
    pace = shown(100)
    pace.note(10_000, 1.0)
    assert pace.is_quick(100)
    assert not pace.is_quick(10_000)


def test_a_slow_run_of_a_known_size_has_to_be_earned_back():
    pace = shown(100)
    pace.note(100, 10 * EARNS_S + QUICK_S)
    missing = round(10 + QUICK_S / EARNS_S)
    for _ in range(missing - 1):
        pace.note(100, QUICK_S / 2)
        assert not pace.is_quick(100)
    pace.note(100, QUICK_S / 2)
    assert pace.is_quick(100)


def test_one_slow_run_in_a_hundred_is_forgiven():
    pace = shown(100, 200)
    for _ in range(50):
        pace.note(100, 2 * QUICK_S)
        assert pace.is_quick(100)
        for _ in range(99):
            pace.note(100, QUICK_S / 10)


@given(st.lists(st.sampled_from([QUICK_S / 2, QUICK_S * 1.5, 1e-3, 0.03]), max_size=300))
def test_slow_runs_hold_up_the_loop_for_no_more_than_quick_ones_earn(runs):
    pace, held_up, earned = Pace(), 0.0, 0.0
    for took_s in runs:
        is_on_loop = pace.is_quick(8)
        if is_on_loop and took_s > QUICK_S:
            assert held_up <= earned + EARNS_S  # before this one: each slow run was paid for by those before it
            held_up += took_s
        earned += EARNS_S * (took_s <= QUICK_S)
        pace.note(8, took_s)


def test_debts_and_savings_are_bounded():
    pace = shown(8)
    pace.note(8, 1000.0)
    for _ in range(round(-LEAST_S / EARNS_S)):
        assert not pace.is_quick(8)
        pace.note(8, 0.0)
    assert pace.is_quick(8)
    rich = shown(8, 100_000)
    rich.note(8, MOST_S * 1.1)
    assert not rich.is_quick(8)


@pytest.mark.parametrize(
    ("data", "size"), [(np.zeros((2, 16), np.float32), 128), (np.array([b"long text"], dtype=object), -1)]
)
def test_size_of_inputs(data, size):
    request = InferenceRequest({"a": Tensor("a", "FP32", data)})
    assert size_of(request) == size
    assert shown(1 << 20).is_quick(size) is (size >= 0)
