"""The frame: progress, failures that stay alone, interruptions that lose nothing, and honest exit statuses."""

import asyncio
import io
import json
from dataclasses import dataclass
from importlib import import_module

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.load import closed_loop
from benchmarks.suite import catalogue
from benchmarks.suite.command import measure, measure_all
from benchmarks.suite.pace import Pace


@dataclass
class FakeClock:
    now: float


def fake_run(behaviour):
    """A scenario that does what it is told by its name."""

    def run(name, pace):
        for _ in pace.rounds(3, 2):
            if isinstance(behaviour.get(name), BaseException):
                raise behaviour[name]
        return {"scenario": name, "question": f"Why {name}?", "served": {"1": {"p50_ms": 1.0}}}

    return run


def ran(tmp_path, names, behaviour, **more):
    console = Console(record=True, width=100, file=io.StringIO())
    status = measure_all(names, tmp_path, console, run=fake_run(behaviour), **more)
    written = sorted(file.stem for file in tmp_path.glob("*.json"))
    return status, written, console.export_text()


def test_all_is_well(tmp_path):
    status, written, said = ran(tmp_path, ("one", "two"), {}, is_quick=True)
    assert (status, written) == (0, ["one", "two"])
    assert "one (1 of 2)" in said
    assert "round 2 of 2" in said
    document = json.loads((tmp_path / "one.json").read_text())
    assert (document["is_quick"], set(document) >= {"environment", "took_s", "load_average_before"}) == (True, True)
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit("broken")], ids=["error", "exit"])
def test_a_failure_loses_its_own_scenario_only(tmp_path, error):
    status, written, said = ran(tmp_path, ("one", "two", "three"), {"two": error})
    assert (status, written, "failed: two: broken" in said) == (1, ["one", "three"], True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(130)], ids=["key", "exit"])
def test_an_interruption_keeps_what_is_finished(tmp_path, error):
    status, written, said = ran(tmp_path, ("one", "two", "three"), {"two": error})
    assert (status, written, "finished and written: one" in said) == (130, ["one"], True)


def test_a_pace_counts_rounds_and_foresees_the_rest():
    told, clock = [], FakeClock(0.0)
    pace = Pace(tell=told.append, now=lambda: clock.now, expected_s=33.0)
    for _ in pace.rounds(3, 2, of="triton"):
        clock.now += 10.0
    assert told == [
        "triton: round 1 of 3, about 33 s left",
        "triton: round 2 of 3, about 20 s left",
        "triton: round 3 of 3, about 10 s left",
    ]


def test_a_quick_pace_is_shorter_and_tells_no_time_that_it_does_not_know():
    told = []
    pace = Pace(is_quick=True, tell=told.append, now=lambda: 0.0)
    assert (len(list(pace.rounds(5, 2))), pace.of(5, 2), pace.seconds(4.0, 1.5)) == (2, 2, 1.5)
    assert told[0] == "round 1 of 2"


@pytest.mark.parametrize("name", catalogue.SCENARIOS)
def test_each_scenario_opens_with_its_question_and_can_be_run(name):
    assert catalogue.question(name).endswith("?")
    assert callable(import_module(f"benchmarks.scenarios.{name}").run)


def test_an_unknown_scenario_is_told_with_those_that_exist():
    said = CliRunner().invoke(measure, ["overheat"])
    assert (said.exit_code, "'overheat' is not a scenario" in said.output, "overhead" in said.output) == (2, True, True)


def test_help_teaches_with_lines_to_copy():
    said = CliRunner().invoke(measure, ["--help"]).output
    assert all(
        line in said for line in ("python -m benchmarks --quick", "compare BEFORE.json AFTER.json", "make archives")
    )


async def test_a_closed_loop_reads_answers_by_content_length_and_by_no_header_that_ends_alike():
    got = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        got.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 9\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        load = closed_loop.Load("127.0.0.1", port, "/", {}, ["AP8="], 1, 0.0, encoding="base64")
        found = await closed_loop._run(load)
    assert (found.requests, found.failed, got) == (1, 0, [b"\x00\xff"])
