"""`python -m benchmarks.simulate` end to end, in small; the certificate; the charts."""

import json
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from benchmarks.simulate import main
from benchmarks.simulation.budgets import parse
from benchmarks.simulation.certificate import REAL, RUNS, SEEDS, certificate
from benchmarks.simulation.plot import Panel, svg

SMALL = ["--bases", "6", "--heads", "10", "--requests", "500", "--days", "1", "--no-certificate"]


def simulate(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_made_traffic_and_its_own_log_give_the_same_figures(tmp_path):
    log, made, read = tmp_path / "log.jsonl", tmp_path / "made.json", tmp_path / "read.json"
    done = simulate(*SMALL, "--budget", "8GB", "--budget", "80%", "--write-log", log, "--result", made)
    assert done.exit_code == 0, done.output
    assert "gdsf" in done.output
    done = simulate("--log", log, "--no-certificate", "--budget", "8GB", "--result", read)
    assert done.exit_code == 0, done.output
    (first,), (again,) = (json.loads(path.read_text())["traffic"] for path in (made, read))
    assert again["rows"][0]["oversubscription"] <= first["rows"][0]["oversubscription"]
    figures = [
        [
            (row["policy"], row["sharing"], row["misses"], row["load_seconds"])
            for row in traffic["rows"]
            if row["budget_bytes"] == 8 * 10**9
        ]
        for traffic in (first, again)
    ]
    assert figures[0] == figures[1]
    assert len(figures[0]) == 12
    assert "environment" in json.loads(made.read_text())
    for name in ("miss_ratio", "load_seconds"):
        assert ET.parse(tmp_path / f"made_{name}.svg").getroot().tag.endswith("svg")


def test_poisson_is_labelled_pessimistic_and_one_policy_is_enough(tmp_path):
    result = tmp_path / "r.json"
    done = simulate(
        *SMALL, "--arrivals", "poisson", "--policy", "lru", "--sharing", "on", "--budget", "10%", "--result", result
    )
    assert done.exit_code == 0, done.output
    (traffic,) = json.loads(result.read_text())["traffic"]
    assert traffic["label"] == "poisson, zipf 0.9 (pessimistic)"
    assert len(traffic["rows"]) == 1


def test_what_was_asked_wrongly_is_said(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{}\n")
    done = simulate("--log", bad, "--no-certificate")
    assert done.exit_code == 1
    assert "line 1 has no 'time'" in done.output
    done = simulate(*SMALL, "--budget", "lots")
    assert done.exit_code == 2
    assert "write 24GB, 24GiB or 10%" in done.output


def test_the_help_teaches():
    said = simulate("--help").output
    assert "python -m benchmarks.simulate --log access.jsonl --budget 24GB" in said
    assert "optimum" in said


@pytest.mark.parametrize(
    ("text", "size"), [("24GB", 24 * 10**9), ("2gib", 2**31), ("1e3", 1000), ("10%", 50), ("1.5 kB", 1500), ("7", 7)]
)
def test_budgets_are_read(text, size):
    assert parse(text, 500) == size


@pytest.mark.parametrize("text", ["", "GB", "1 parsec", "0", "-1GB", "0%", "1.2.3GB"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ValueError):
        parse(text, 500)


def test_the_generated_traffic_misses_like_the_real_trace_and_poisson_does_not():
    heard = []
    said = certificate(heard.append, seeds=SEEDS[:1])
    assert len(heard) * len(SEEDS) == RUNS
    rows = {(row["traffic"], row["policy"]): row for row in said["rows"]}
    for policy in REAL:
        assert max(map(abs, rows["sessions", policy]["difference_points"])) <= 2.5, rows["sessions", policy]
    for got, published in zip(rows["sessions", "lru"]["miss_percent"], said["published_sessions_lru"], strict=True):
        assert got == pytest.approx(published, abs=1.0)
    for got, published in zip(
        rows["poisson (pessimistic)", "lru"]["miss_percent"], said["published_poisson_lru"], strict=True
    ):
        assert got == pytest.approx(published, abs=2.0)


@pytest.mark.parametrize("log_y", [False, True])
def test_charts_survive_one_point_nothing_and_odd_names(log_y):
    panels = [Panel("p & q", {"<lru>": [(1.0, 0.0)]}), Panel("empty", {}), Panel("one", {"x": [(2.0, 3.0)]})]
    drawn = svg("a < b", ("x", "y"), panels, log_y=log_y)
    assert ET.fromstring(drawn).tag.endswith("svg")
    assert "&lt;lru&gt;" in drawn
    assert "nan" not in drawn


def test_a_chart_puts_values_where_they_belong():
    flat = svg("t", ("x", "y"), [Panel("p", {"a": [(1.0, 0.0), (10.0, 50.0), (100.0, 100.0)]})], columns=1)
    assert 'd="M62.0 234.0L233.0 137.0L404.0 40.0"' in flat
    bent = svg("t", ("x", "y"), [Panel("p", {"a": [(1.0, 1.0), (100.0, 10.0), (100.0, 100.0)]})], log_y=True)
    assert 'd="M62.0 234.0L404.0 137.0L404.0 40.0"' in bent
