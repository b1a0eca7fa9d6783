"""The README's figures are the recorded ones, and its plot shows them."""

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.suite import documents
from benchmarks.suite.command import write_readme
from benchmarks.suite.readme import BEGIN, END, PLOT, NoMarks, block, plot, replaced, within
from benchmarks.suite.report.lines import apart, lines_chart

README = Path(__file__).resolve().parents[3] / "README.md"


def row(rate, wait, **more):
    return {"requests_per_s": rate, "p50_ms": wait, **more}


RESULT = {
    "scenario": "peers",
    "rounds": 3,
    "environment": {"cpu": "a CPU", "cores": 2, "commit": "abc", "closed_loops_by": "wrk 4.1 (C)"},
    "bare_limit": {"texts_per_s": 200.0},
    "served": {"1": row(100.0, 10.0), "64": row(180.0, 355.0)},
    "peers": {
        "Slow": {
            "1": row(50.0, 20.0, served_throughput_vs_this=2.0, served_throughput_vs_this_min_max=[1.8, 2.1]),
            "64": row(60.0, 1000.0, served_throughput_vs_this=3.0, served_throughput_vs_this_min_max=[2.8, 3.1]),
        },
        "Fast": {"1": row(90.0, 11.0), "64": row(120.0, 500.0, served_throughput_vs_this=1.5)},
    },
    "not_here": {"Other": "needs Java"},
}


def test_the_readme_is_golden():
    if os.environ.get("ROUNDHOUSE_REWRITE_GOLDEN"):
        write_readme(README, documents.RESULTS)
    recorded = documents.main(documents.RESULTS)
    assert within(README.read_text()) == block(recorded), "the README's figures are out of date: make golden"
    assert (documents.RESULTS / PLOT).read_text() == plot(recorded), "its plot is out of date: make golden"


def test_the_table_has_the_fastest_peer_first_and_ratios_with_their_spread():
    lines = block(RESULT).splitlines()
    assert lines[0].endswith("closed loops (wrk 4.1 (C)), medians of 3 rounds, 2 cores of a CPU, "
                             "load generator on the same cores, commit abc.")  # fmt: skip
    assert lines[2].endswith("compares within the rounds.")
    assert lines[4].endswith("| 1 | 64 | Roundhouse over it at 1 / 64 |")
    assert lines[6] == "| **Roundhouse** | **100 (10)** | **180 (355)** | |"
    assert lines[7] == "| Fast | 90 (11) | 120 (500) | - / 1.50 |"
    assert lines[8] == "| Slow | 50 (20) | 60 (1,000) | 2.00 / 3.00 (2.80 to 3.10) |"
    assert lines[9].endswith("| *200* | 0.90 |")
    assert lines[-1] == "Not measured: Other (needs Java)."
    assert {line.count("|") for line in lines if line.startswith("|")} == {5}


def test_only_what_stands_between_the_marks_is_replaced():
    text = f"# Title\n{BEGIN}\nold\n{END}\nrest\n"
    assert replaced(text, "new") == f"# Title\n{BEGIN}\nnew\n{END}\nrest\n"
    assert within(replaced(text, "new")) == "new"
    with pytest.raises(NoMarks, match="benchmarks end"):
        replaced("# Title\n", "new")


def test_the_plot_is_well_formed_and_names_every_line():
    drawn = plot(RESULT)
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert all(f"  {name}</text>" in drawn for name in ("Roundhouse", "Fast", "Slow"))
    assert lines_chart({"one": [(1, 2.0)]}, "one") == ""


def test_names_beside_each_other_do_not_touch():
    assert apart([10.0, 12.0, 50.0], 15, 0, 100) == [3.5, 18.5, 50.0]
    assert apart([90.0, 95.0, 99.0], 15, 0, 100) == [70.0, 85.0, 100.0]
