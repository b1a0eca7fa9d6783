"""The size budget: a file over 400 lines has more than one reason to change."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for top in ("server", "builders", "benchmarks", "tests")
    for path in (ROOT / top).rglob("*.py")
)
LIMIT = 400


@pytest.mark.parametrize("path", SOURCES)
def test_no_file_is_over_the_limit(path):
    lines = len((ROOT / path).read_text().splitlines())
    assert lines <= LIMIT, f"{path} has {lines} lines, the limit is {LIMIT}: which two reasons to change does it have?"


def test_names_say_what_a_file_is_for():
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "handlers"}
    assert [path for path in SOURCES if Path(path).stem in vague] == []
