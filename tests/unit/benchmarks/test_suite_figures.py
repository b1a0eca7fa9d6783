"""Figures, spreads, tables: how the suite reads a result document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.closed_loop import outcome
from benchmarks.suite.figures import Figure, figures, over_rounds, ratios, short, spread, tables, words

DOCUMENT = {
    "scenario": "made",
    "rounds": 3,
    "took_s": 12.0,
    "gain": 2.0,
    "gain_min_max": [1.5, 2.5],
    "environment": {"cores": 2},
    "bare": {"p50_ms": 1.0},
    "served": {"1": {"p50_ms": 2.0, "p50_ms_min_max": [1.0, 3.0]}, "4": {"p50_ms": 5.0}},
    "triton": {"tiers": {"disk": {"first_answer_ms": 9.0, "phases_ms": {"load": 7.0}}}},
}


def test_a_figure_is_the_median_with_the_smallest_and_the_largest_round():
    assert spread("p50_ms", [3.0, 1.0, 2.0]) == {"p50_ms": 2.0, "p50_ms_min_max": [1.0, 3.0]}
    assert over_rounds([{"a": 1.0}, {"a": 2.0}])["a"] == 1.5


def test_ratios_are_taken_within_each_round():
    assert ratios("x_vs_y", [10.0, 30.0], [10.0, 10.0]) == {"x_vs_y": 2.0, "x_vs_y_min_max": [1.0, 3.0]}


def test_tables_are_found_by_their_form():
    found = dict(tables(DOCUMENT))
    assert list(found) == ["overall", "served", "for comparison", "triton / tiers"]
    assert found["overall"] == {"": {"gain": 2.0, "gain_min_max": [1.5, 2.5]}}
    assert list(found["served"]) == ["1", "4"]


def test_figures_are_named_by_where_they_lie_and_know_whether_they_have_a_spread():
    found = figures(DOCUMENT)
    assert found["served / 1 / p50_ms"] == Figure(2.0, 1.0, 3.0)
    assert found["served / 4 / p50_ms"] == Figure(5.0, 5.0, 5.0, has_spread=False)
    assert not any("cores" in name or "took" in name or "rounds" in name for name in found)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("requests_per_s", "requests/s"),
        ("p50_vs_bare", "p50 / bare"),
        ("cpu_s_per_1000", "cpu s per 1000"),
        ("first_answer_ms", "first answer ms"),
    ],
    ids=["rate", "ratio", "per", "plain"],
)
def test_names_become_words(name, said):
    assert words(name) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (9.876, "9.88"),
        (12.34, "12.3"),
        (12.0, "12"),
        (123.45, "123.5"),
        (12345.6, "12,346"),
    ],
    ids=str,
)
def test_numbers_are_short(value, said):
    assert short(value) == said


def test_a_closed_loop_counts_what_was_answered_in_its_time():
    found = outcome([0.003, 0.001, 0.002], elapsed_s=0.5, failed=1)
    assert (found.requests, found.requests_per_s, found.failed) == (3, 6.0, 1)
    assert (found.p50_ms, found.p99_ms, found.mean_ms) == (2.0, 3.0, 2.0)


def test_a_closed_loop_without_an_answer_is_no_result():
    with pytest.raises(ValueError, match="nothing was answered"):
        outcome([], elapsed_s=1.0)


@given(st.lists(st.floats(0.0001, 10), min_size=1), st.randoms())
def test_percentiles_do_not_depend_on_the_order_and_lie_within(latencies, random):
    found = outcome(latencies, elapsed_s=1.0)
    random.shuffle(latencies)
    assert outcome(latencies, elapsed_s=1.0) == found
    low, high = min(latencies) * 1e3 - 0.001, max(latencies) * 1e3 + 0.001
    assert low <= found.p50_ms <= found.p99_ms <= high
