"""Access logs as docs/access_log.md has them."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.traffic.access_log import LogUnreadableError, read, read_file
from benchmarks.traffic.trace import Archive, Part

GOOD = {"time": 1.5, "archive": "a/x", "bytes": 10, "load_s": 2, "group": "a"}
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "access_log.md"


def log(*lines):
    return [json.dumps(line) for line in lines]


def test_the_documents_example_is_a_good_log():
    trace = read(re.findall(r"^    (\{.*\})$", DOCUMENT.read_text(), re.MULTILINE))
    assert len(trace) == 2
    (archive,) = trace.archives
    assert (archive.name, archive.group, archive.bytes) == ("acme/fr.tar.gz", "acme", 515_000_000)
    assert archive.load_s == pytest.approx(1.65)
    assert [part.digest for part in archive.parts] == ["base-7", "fr"]


def test_an_archive_without_parts_is_one_part_of_its_own():
    trace = read(log(GOOD, {**GOOD, "archive": "y", "time": 3}, GOOD))
    assert trace.archives[0] == Archive("a/x", "a", (Part("whole:a/x", 10, 2),))
    assert trace.asked.tolist() == [0, 0, 1]


def test_the_last_word_counts_and_lines_are_sorted():
    shared = {"digest": "s", "bytes": 5, "load_s": 1}
    trace = read(
        [
            *log({**GOOD, "time": 9, "parts": [shared]}, {**GOOD, "archive": "b", "parts": [shared], "time": 7}),
            "\n",
            *log({**GOOD, "archive": "b", "parts": [{**shared, "bytes": 6}], "time": 8}, {**GOOD, "archive": "c"}),
            *log({**GOOD, "archive": "c", "bytes": 11, "group": "g"}),
        ]
    )
    assert trace.times.tolist() == [1.5, 1.5, 7, 8, 9]
    assert [archive.bytes for archive in trace.archives] == [6, 6, 11]
    assert trace.archives[2].group == "g"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: "),
        ("[1]", "line 2: a line is a JSON object"),
        (json.dumps({**GOOD, "time": "noon"}), "line 2: time is 'noon', not a finite number"),
        (json.dumps({**GOOD, "time": True}), "line 2: time is True"),
        (json.dumps({**GOOD, "load_s": float("nan")}), "line 2: load_s is nan"),
        (json.dumps({**GOOD, "bytes": -1}), "line 2: bytes -1 and load_s 2 may not be negative"),
        (json.dumps({**GOOD, "archive": 7}), "line 2: archive is 7, not a name"),
        (json.dumps({key: GOOD[key] for key in ("time", "archive", "bytes")}), "line 2 has no 'load_s'"),
        (json.dumps({**GOOD, "parts": [{"bytes": 1, "load_s": 1}]}), "line 2 has no 'digest'"),
        (json.dumps({**GOOD, "parts": 5}), "line 2: parts is 5, not a list"),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(line, said):
    with pytest.raises(LogUnreadableError, match=re.escape(said)):
        read([json.dumps(GOOD), line])


def test_an_empty_log_is_no_log():
    with pytest.raises(LogUnreadableError, match="no lines"):
        read(["\n"])


def test_reading_a_file_tells_how_far_it_came(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(log(GOOD, GOOD)))
    heard = []
    assert len(read_file(path, heard.append)) == 2
    assert sum(heard) == path.stat().st_size
