"""The access log's file: whole lines, parts where they are news, bounded in every direction, and never in the way."""

import json

import pytest

from server.domain.part import Part
from server.telemetry.access_log_file import AccessLogFile, Line

BASE, HEAD = Part("base", 500, 1.5), Part("head", 20, 0.25)


@pytest.fixture
def open_log(tmp_path):
    """Opens logs: `open_log(max_bytes=..., most_waiting=...)`; without a thread, so that tests say when it writes."""
    opened = []

    def start(path=tmp_path / "access.jsonl", max_bytes=1 << 20, **options):
        opened.append(AccessLogFile(path, max_bytes, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_first_line_of_an_archive_has_its_parts_and_later_ones_repeat_nothing(open_log, tmp_path):
    log = open_log()
    log.put(Line(1.25, "acme/a.tar.gz", (BASE, HEAD)))
    log.put(Line(2.5, "acme/a.tar.gz", (BASE, HEAD)))
    log.flush()
    first, second = lines(tmp_path / "access.jsonl")
    known = {"archive": "acme/a.tar.gz", "bytes": 520, "load_s": 1.75, "group": "acme"}
    parts = [{"digest": "base", "bytes": 500, "load_s": 1.5}, {"digest": "head", "bytes": 20, "load_s": 0.25}]
    assert first == {"time": 1.25, **known, "parts": parts}
    assert second == {"time": 2.5, **known}
    assert (log.written, log.dropped) == (2, 0)


def test_parts_are_told_again_when_they_changed(open_log, tmp_path):
    log = open_log()
    for parts in ((BASE,), (BASE, HEAD), (Part("base", 500, 1.5), HEAD), ()):
        log.put(Line(1.0, "a", parts))
    log.flush()
    found = lines(tmp_path / "access.jsonl")
    assert [len(line.get("parts", "")) for line in found] == [1, 2, 0, 0]
    assert [line["bytes"] for line in found] == [500, 520, 520, 0]
    assert found[0]["group"] == ""


def test_a_log_that_was_moved_is_begun_anew_and_tells_everything_again(open_log, tmp_path):
    path = tmp_path / "access.jsonl"
    log = open_log()
    log.put(Line(1.0, "a", (HEAD,)))
    log.flush()
    path.rename(tmp_path / "moved")
    log.put(Line(2.0, "a", (HEAD,)))
    log.flush()
    path.unlink()
    log.put(Line(3.0, "a", (HEAD,)))
    log.flush()
    assert [line["time"] for line in lines(tmp_path / "moved")] == [1.0]
    (again,) = lines(path)
    assert (again["time"], again["parts"][0]["digest"]) == (3.0, "head")


def test_a_log_that_is_long_enough_becomes_the_one_before(open_log, tmp_path):
    log = open_log(max_bytes=150)
    for number in range(6):
        log.put(Line(float(number), "a", (HEAD,)))
        log.flush()
    before, now = lines(tmp_path / "access.jsonl.1"), lines(tmp_path / "access.jsonl")
    assert [line["time"] for line in before + now] == [2.0, 3.0, 4.0, 5.0]
    assert "parts" in before[0]
    assert "parts" in now[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["access.jsonl", "access.jsonl.1"]


def test_an_existing_log_is_continued(open_log, tmp_path):
    (tmp_path / "access.jsonl").write_text('{"time":0,"archive":"old","bytes":1,"load_s":1}\n')
    log = open_log()
    log.put(Line(1.0, "a", ()))
    log.flush()
    assert [line["archive"] for line in lines(tmp_path / "access.jsonl")] == ["old", "a"]


def test_a_full_queue_costs_lines_which_are_counted(open_log, tmp_path):
    log = open_log(most_waiting=3)
    for number in range(5):
        log.put(Line(float(number), "a", ()))
    log.flush()
    log.put(Line(5.0, "a", ()))
    log.flush()
    assert [line["time"] for line in lines(tmp_path / "access.jsonl")] == [0.0, 1.0, 2.0, 5.0]
    assert log.dropped == 2
    assert {level.name: level.value for level in log.levels()} == {
        "roundhouse_access_log_lines": 4,
        "roundhouse_access_log_dropped": 2,
    }


def test_a_full_disk_costs_lines_and_is_told_once(open_log, tmp_path, caplog):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    log = open_log(full)
    for number in range(2):
        log.put(Line(float(number), "a", (HEAD,)))
        log.flush()
    assert (log.written, log.dropped) == (0, 2)
    assert len(caplog.records) == 1
    assert "loses lines" in caplog.text


def test_a_place_that_is_not_there_is_refused_at_once_and_by_name(tmp_path):
    with pytest.raises(OSError, match=r"nowhere/access\.jsonl"):
        AccessLogFile(tmp_path / "nowhere" / "access.jsonl", 100)


def test_a_name_that_is_no_text_is_written_as_well_as_it_can_be(open_log, tmp_path):
    log = open_log()
    log.put(Line(1.0, 'a\udcff\n"', ()))
    log.flush()
    (line,) = lines(tmp_path / "access.jsonl")
    assert line["archive"] == 'a?\n"'


def test_the_thread_writes_by_itself_and_close_writes_the_rest(open_log, tmp_path):
    log = open_log()
    log.begin()
    for number in range(1000):
        log.put(Line(float(number), f"a{number % 7}", (HEAD,)))
    log.close()
    log.close()
    assert [line["time"] for line in lines(tmp_path / "access.jsonl")] == [float(number) for number in range(1000)]
