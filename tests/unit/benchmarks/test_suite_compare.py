"""Two results: what counts as a change, and what is refused."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.suite.command import compare_results
from benchmarks.suite.comparing import Incomparable, compare

MACHINE = {"cpu": "made", "cores": 2, "memory_gib": 8.0, "system": "Linux", "commit": "a"}


def result(rate, spread=1.0, **more):
    served = {"requests_per_s": rate, "requests_per_s_min_max": [rate - spread, rate + spread], "p99_ms": 5.0}
    return {"scenario": "made", "environment": MACHINE, "served": {"16": served}, **more}


def latency(value):
    row = {"p50_ms": value, "p50_ms_min_max": [value, value]}
    return {"scenario": "made", "environment": MACHINE, "served": {"1": row}}


def test_a_change_counts_where_the_spreads_do_not_touch():
    (change,) = compare(result(100.0), result(110.0))
    assert (change.name, change.verdict, change.ratio) == ("served / 16 / requests_per_s", "better", 1.1)


@pytest.mark.parametrize("other", [100.0, 102.0, 98.0], ids=["same", "touching above", "touching below"])
def test_what_lies_within_the_spread_is_no_change(other):
    (change,) = compare(result(100.0), result(other))
    assert change.verdict == ""


def test_less_time_is_better_and_less_throughput_is_worse():
    assert compare(latency(5.0), latency(4.0))[0].verdict == "better"
    assert compare(latency(5.0), latency(6.0))[0].verdict == "worse"
    assert compare(result(100.0), result(50.0))[0].verdict == "worse"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"scenario": "another"}, "different scenarios: made and another"),
        ({"environment": {**MACHINE, "cores": 16}}, "different machines .cores 2 and 16"),
        ({"is_quick": True}, "one is a quick run"),
        ({"settings": {"bases": 3}}, "other settings"),
        ({"served": {}}, "no figure with a spread in common"),
    ],
    ids=["scenario", "machine", "form", "settings", "nothing in common"],
)
def test_what_does_not_compare_is_refused_with_the_reason(other, said):
    with pytest.raises(Incomparable, match=said):
        compare(result(100.0), result(100.0) | other)


def test_another_commit_is_what_comparing_is_for():
    assert compare(result(100.0), result(100.0, environment={**MACHINE, "commit": "b"}))


def test_the_command_shows_changes_and_refuses_in_one_sentence(tmp_path):
    for name, document in (("a", result(100.0)), ("b", result(200.0)), ("c", result(1.0, scenario="another"))):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    shown = CliRunner().invoke(compare_results, [str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert (shown.exit_code, "better" in shown.output, "1 of 1 figures differ" in shown.output) == (0, True, True)
    refused = CliRunner().invoke(compare_results, [str(tmp_path / "a.json"), str(tmp_path / "c.json")])
    assert (refused.exit_code, "different scenarios" in refused.output) == (1, True)
    missing = CliRunner().invoke(compare_results, [str(tmp_path / "a.json"), str(tmp_path / "none.json")])
    assert (missing.exit_code, "cannot be read as a result" in missing.output) == (1, True)
