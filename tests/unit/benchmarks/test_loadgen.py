"""MLPerf's LoadGen: what its summary says, and what is said where it is not installed."""

import pytest

from benchmarks.load.loadgen import LoadGenMissing, check, verdict_in

SERVER = """
Scenario : Server
Completed samples per second    : 209.15
Result is : INVALID
  Performance constraints satisfied : Yes
  Min duration satisfied : NO
  Early stopping satisfied: NO
50.00 percentile latency (ns)   : 2259827
90.00 percentile latency (ns)   : 4842142
99.00 percentile latency (ns)   : 7486445
"""


def test_a_summary_becomes_figures_and_the_rules_not_kept():
    found = verdict_in(SERVER)
    assert found.figures == {"samples_per_s": 209.15, "p50_ms": 2.26, "p90_ms": 4.842, "p99_ms": 7.486}
    assert (found.is_valid, found.why) == (False, ["Min duration", "Early stopping"])


@pytest.mark.parametrize(
    ("line", "figures"),
    [
        ("Samples per second: 854.3", {"samples_per_s": 854.3}),
        ("a title\n=====\nQPS w/ loadgen overhead : 339", {"samples_per_s": 339.0}),
    ],
    ids=["offline", "single-stream"],
)
def test_each_scenario_names_its_rate_in_its_own_way(line, figures):
    found = verdict_in(f"Result is : VALID\n{line}\n")
    assert (found.is_valid, found.figures, found.why) == (True, figures, [])


def test_a_text_without_a_result_is_refused():
    with pytest.raises(ValueError, match="no result"):
        verdict_in("killed")


def test_where_it_is_not_installed_the_extra_is_named():
    with pytest.raises(LoadGenMissing, match=r"\[bench\]"):
        check(lambda name: None)
