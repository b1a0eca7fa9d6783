"""The scenario of many models, in small: a real server on a local S3, memory for two of four bases, every answer checked."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.scenarios.many_models import main

SMALL = ["--bases", "4", "--heads", "5", "--requests", "200", "--days", "1", "--minutes", "0.02"]
THIN = ["--budget-bases", "2.5", "--layers", "1", "--form", "full", "--no-certificate"]


@pytest.mark.builders
def test_a_fleet_larger_than_memory_is_served_without_a_failed_request(tmp_path):
    result = tmp_path / "out.json"
    arguments = [*SMALL, *THIN, "--variant", "main", "--scratch", str(tmp_path), "--result", str(result)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    card = json.loads(result.read_text())["variants"]["main"]
    assert (card["requests"], card["failed"], card["problems"]) == (200, 0, {})
    assert 0 < card["miss_ratio"] < 1
    assert card["loads"]["evictions"] > 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "out.json",
        "out_memory.svg",
        "out_load.svg",
        "out_latency.svg",
    }
