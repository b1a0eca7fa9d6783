"""`roundhouse replay` from a log to a table, a chart and JSON; and what it says when it cannot."""

import json
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from benchmarks.replay import replay
from benchmarks.simulation.budgets import written
from benchmarks.simulation.verdict import BOUND

MB = 10**6


def run(*arguments, **more):
    return CliRunner(env={"COLUMNS": "110"}).invoke(replay, [str(argument) for argument in arguments], **more)


def log_of(letters, seconds_apart=10.0):
    """Archives of 1 MB and 1 s each."""
    return "".join(
        json.dumps({"time": at * seconds_apart, "archive": letter, "bytes": MB, "load_s": 1.0}) + "\n"
        for at, letter in enumerate(letters)
    )


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "access.jsonl"
    path.write_text(log_of("abcdabcdabcd"))
    return path


def test_the_table_has_each_policy_the_optimum_and_the_distance_to_it(log):
    done = run(log, "--budget", "3MB", "--policy", "lru", "--policy", "gdsf")
    assert done.exit_code == 0, done.output
    lines = {
        cells[-7] if len(cells) > 6 else cells[0]: cells for cells in map(str.split, done.output.splitlines()) if cells
    }
    assert "12 requests for 4 archives, 4 MB" in done.output
    assert {"lru", "gdsf", "belady", "belady-cost"} <= {word for words in lines.values() for word in words}
    (lru,) = (words for words in map(str.split, done.output.splitlines()) if "lru" in words)
    assert lru[lru.index("lru") :] == ["lru", "100.00", "2.00", "100.00", "2.00", "12", "MB", "9"]
    (best,) = (words for words in map(str.split, done.output.splitlines()) if "belady" in words and "50.00" in words)
    assert best[1:3] == ["50.00", "1.00"]
    assert BOUND in done.output
    assert "s3-fifo" not in done.output


def test_every_figure_goes_into_the_json_and_the_curves_into_one_picture(log, tmp_path):
    done = run(log, "--budget", "2MB", "--json", tmp_path / "out.json", "--plot", tmp_path / "out.svg")
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["churn_guard_s"] == 5.0
    assert document["statistics"]["requests"] == 12
    assert {row["policy"] for row in document["rows"]} == {"lru", "gdsf", "s3-fifo", "belady", "belady-cost"}
    assert {row["budget_bytes"] for row in document["rows"]} == {MB // 2, MB, 2 * MB, 4 * MB, 8 * MB}
    asked = {row["policy"]: row for row in document["rows"] if row["budget_bytes"] == 2 * MB}
    assert asked["lru"]["misses"] == 12
    assert asked["lru"]["bytes_loaded"] == 12 * MB
    assert asked["belady"]["misses_to_optimum"] == 1.0
    drawn = ET.parse(tmp_path / "out.svg").getroot()
    assert {"misses", "load-seconds", "lru", "belady"} <= {text.text for text in drawn.iter() if text.text}


def test_the_churn_guard_is_replayed_where_it_binds(log, tmp_path):
    figures = []
    for guard in (0, 25):
        log.write_text(log_of("abacb"))
        done = run(log, "--budget", "2MB", "--policy", "lru", "--churn-guard-s", guard, "--json", tmp_path / "out.json")
        assert done.exit_code == 0, done.output
        rows = json.loads((tmp_path / "out.json").read_text())["rows"]
        figures.append({row["policy"]: row["misses"] for row in rows})
    assert [each["lru"] for each in figures] == [4, 3]
    assert figures[0]["belady"] == figures[1]["belady"]  # the optimum is nobody's guard's


def test_files_that_follow_each_other_are_read_from_standard_input(tmp_path):
    done = run("-", "--budget", "3MB", input=log_of("abcd") + log_of("abcd"))
    assert done.exit_code == 0, done.output
    assert "8 requests" in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the log has no lines yet"),
        ("\n\n", "the log has no lines yet"),
        (log_of("ab") + "{\n", "line 3"),
        (log_of("a") + '{"time": 1}\n', "line 2 has no 'archive'"),
        (log_of("a") + '{"time": "noon", "archive": "a", "bytes": 1, "load_s": 1}\n', "line 2: time is 'noon'"),
        ('{"time": 1, "archive": "a", "bytes": 0, "load_s": 0}\n', "nothing was ever loaded"),
    ],
    ids=["empty", "blank", "torn", "lacking", "wrong", "refused"],
)
def test_a_log_that_cannot_be_replayed_is_named_with_the_line(log, text, said):
    log.write_text(text)
    done = run(log)
    assert done.exit_code == 1
    assert said in done.output


def test_a_budget_that_is_none_and_a_log_that_is_not_there(log, tmp_path):
    assert "write 24GB, 24GiB or 10%" in run(log, "--budget", "lots").output
    assert run(tmp_path / "nowhere").exit_code == 2


def test_requests_for_archives_larger_than_the_budget_are_told(log):
    done = run(log, "--budget", "500kB")
    assert done.exit_code == 0, done.output
    assert "up to 12 requests" in done.output


def test_the_help_teaches():
    said = run("--help").output
    assert "roundhouse replay access.jsonl --budget 8GiB" in said
    assert "--access-log FILE" in said
    assert "x opt." in said


@pytest.mark.parametrize(
    ("size", "text"),
    [(12, "12 B"), (1500, "1.5 kB"), (12.6e6, "12.6 MB"), (8.589e9, "8.59 GB"), (24e9, "24 GB"), (3.2e15, "3,200 TB")],
)
def test_bytes_are_written_for_people(size, text):
    assert written(size) == text
