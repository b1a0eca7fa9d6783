"""What a live server wrote about its traffic, replayed: the replay misses exactly where the server did."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.replay import replay
from tests.integration.live_server import live_server
from tests.integration.residency.asking import Client
from tests.integration.residency.linear_archives import inputs_of, write_archive

ARCHIVES, REQUESTS = 7, 120
WEIGHT_BYTES = 2_000_000
MEASURED_BYTES = 2_300_000
"""What one of them takes, roughly; a budget of three and a half holds three, whatever the measurement's noise."""
BUDGET_BYTES = 3 * MEASURED_BYTES + MEASURED_BYTES // 2


@pytest.fixture(scope="module")
def mix() -> Sequence[int]:
    """Which archive is asked for: some more than others, and in runs."""
    choose = random.Random(20261122)
    weights = [1 / rank for rank in range(1, ARCHIVES + 1)]
    return [each for each in choose.choices(range(ARCHIVES), weights, k=REQUESTS // 2) for _ in range(2)]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, mix: Sequence[int]) -> tuple[Path, list[str]]:
    """The log of a server that has ended, and how warm each of its answers was."""
    folder = tmp_path_factory.mktemp("logged")
    for index in range(ARCHIVES):
        write_archive(folder / "store" / "team" / f"a{index}", index, WEIGHT_BYTES)
    log = folder / "access.jsonl"
    flags = ("--store", folder / "store", "--engine", "embedded", "--memory-budget", BUDGET_BYTES, "--churn-guard-s", 0)
    with live_server(folder / "server", *flags, "--access-log", log) as server, Client(server) as at:
        warmths = [at.infer(f"team/a{index}", inputs_of(number)).warmth for number, index in enumerate(mix)]
        assert at.infer("team/nowhere", inputs_of(1)).status == 404
        assert at.call("POST", f"/v2/models/team/a{mix[-1]}/infer", b"{}").status == 400
        told = at.call("GET", "/metrics").body.decode()
    assert "roundhouse_access_log_dropped 0.0" in told
    return log, warmths


def test_every_request_is_in_the_log_refused_ones_too(lived: tuple[Path, list[str]], mix: Sequence[int]) -> None:
    log, _ = lived
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["archive"] for line in lines] == [f"team/a{index}" for index in (*mix, mix[-1])]
    assert {line["group"] for line in lines} == {"team"}
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert {line["archive"] for line in lines if "parts" in line} == {f"team/a{index}" for index in mix}
    assert all(WEIGHT_BYTES < line["bytes"] < 2 * WEIGHT_BYTES for line in lines)
    assert all(line["load_s"] > 0 for line in lines)


def test_the_replay_misses_exactly_as_often_as_the_server_did(lived: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Under `lru`, which looks at the order of requests alone.

    `gdsf` looks at load times too, of which a replay knows the last ones only: it comes near, and not to the same.
    """
    log, warmths = lived
    arguments = [str(log), "--budget", str(BUDGET_BYTES), "--churn-guard-s", "0", "--json", str(tmp_path / "out.json")]
    done = CliRunner().invoke(replay, arguments)
    assert done.exit_code == 0, done.output
    rows = {row["policy"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    missed = sum(warmth != "resident" for warmth in warmths)
    print(
        f"\n[figures] the server missed {missed} of {len(warmths)}:",
        {name: row["misses"] for name, row in rows.items()},
    )
    assert rows["lru"]["misses"] == missed
    assert rows["belady"]["misses"] < missed
