"""The page: self-contained, well-formed, and it shows what is in the documents."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from benchmarks.suite.figures import Figure
from benchmarks.suite.report.bars import Ratio, ratio_chart, stacked_chart
from benchmarks.suite.report.page import page
from benchmarks.suite.report.sections import MOST_ROWS, section

_VOID = {"meta", "br"}


def row(rate, p50):
    return {
        "requests_per_s": rate,
        "requests_per_s_min_max": [rate - 1, rate + 1],
        "p50_ms": p50,
        "p99_ms": 3 * p50,
        "throughput_vs_bare": rate / 200,
        "throughput_vs_bare_min_max": [rate / 210, rate / 190],
    }


CONCURRENT = {
    "scenario": "single_model",
    "question": "How fast, for <b>anyone</b>?",
    "rounds": 2,
    "is_quick": True,
    "took_s": 61.0,
    "environment": {"cpu": "made & tested", "cores": 2, "packages": {"numpy": "1"}},
    "served": {"1": row(50.0, 20.0), "16": row(100.0, 160.0)},
    "not_here": {"triton": "no .triton here"},
}
COLD = {
    "scenario": "cold_start",
    "question": "What does a cold start cost?",
    "tiers": {
        "store": {
            "first_answer_ms": 460.2,
            "vs_bare": 4.39,
            "phases_ms": {"unpack": 200.0, "load": 180.0, "step a": 90.0},
        },
        "disk": {"first_answer_ms": 120.0, "vs_bare": 1.2, "phases_ms": {"load": 110.0}},
    },
}


class Balance(HTMLParser):
    """Whether each element that is opened is closed again, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_balanced_and_needs_nothing_from_elsewhere():
    text = page([CONCURRENT, COLD])
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert not {"script", "link", "img", "iframe"} & set(balance.seen)
    assert set(re.findall(r"https?://[^\"'<\s]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_page_says_what_was_asked_found_and_left_out():
    text = page([CONCURRENT, COLD])
    assert "How fast, for &lt;b&gt;anyone&lt;/b&gt;?" in text
    assert "made &amp; tested" in text
    assert "A quick run (2 rounds, short)" in text
    assert "Not measured: triton: no .triton here" in text
    assert "<td>460.2</td>" in text
    assert "<small>49 to 51</small>" in text


def test_charts_are_chosen_by_what_the_tables_hold():
    titles = [title for title, _ in section(CONCURRENT).charts]
    assert titles == [
        "Throughput against concurrency",
        "Latency against throughput: served",
        "Ratios within one run, with their spread over the rounds",
    ]
    assert next(title.split(":")[0] for title, _ in section(COLD).charts) == "Where the time goes"


@pytest.mark.parametrize("document", [CONCURRENT, COLD], ids=["concurrent", "cold"])
def test_every_chart_is_well_formed(document):
    charts = section(document).charts
    assert charts
    for _, drawn in charts:
        assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"


def test_steps_within_a_load_are_not_stacked_beside_it():
    (drawn,) = [drawn for title, drawn in section(COLD).charts if title.startswith("Where")]
    assert ("unpack" in drawn, "step a" in drawn, "380 ms" in drawn) == (True, False, True)


def test_a_long_table_is_cut_and_says_so():
    long = {"scenario": "made", "table": {str(index): {"a": 1.0} for index in range(MOST_ROWS + 5)}}
    (grid,) = section(long).grids
    assert (len(grid.rows), f"{MOST_ROWS} of {MOST_ROWS + 5} rows" in grid.title) == (MOST_ROWS, True)


def test_nothing_to_draw_is_nothing():
    assert ratio_chart([]) == ratio_chart([Ratio("none", Figure(0.0, 0.0, 0.0))]) == stacked_chart({}, "ms") == ""


def test_without_results_the_page_says_how_to_get_some():
    assert "python -m benchmarks --quick" in page([])
