"""`roundhouse tune` from an archive to a tuned one, on a real server; and what it leaves behind when it is stopped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from benchmarks.tune import tune
from builders.pipeline.settings_archive import described
from tests.fakes import repositories

pytestmark = pytest.mark.slow
IN_PROCESS = "parameters { key: 'EXECUTION' value { string_value: 'in-process' } } instance_group { count: 1 }"


@pytest.fixture
def archive(tmp_path):
    return repositories.python_echo(tmp_path / "echo", max_batch_size=0, extra=IN_PROCESS)


def run(*arguments):
    return CliRunner(env={"COLUMNS": "120"}).invoke(tune, [str(argument) for argument in arguments])


QUICK = ("--concurrency", "1", "--seconds", "0.1", "--rounds", "1")


def test_it_finds_settings_draws_the_curve_and_writes_the_archive(archive, tmp_path):
    files = {name: tmp_path / name for name in ("tuned.tar.gz", "curve.svg", "tuned.json")}
    done = run(
        archive, "--p99-ms", 5000, *QUICK, "--write", files["tuned.tar.gz"], "--plot", files["curve.svg"],
        "--json", files["tuned.json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    document = json.loads(files["tuned.json"].read_text())
    assert {tuple(each["settings"].items()) for each in document["tried"]} == {(), (("echo.instances", "2"),)}
    assert document["chosen"]["curve"][0]["p99_ms"] <= 5000
    assert "goal" in files["curve.svg"].read_text()
    wanted = document["chosen"]["settings"].get("echo.instances", "1")
    assert described(files["tuned.tar.gz"])["steps"]["echo"]["settings"]["instances"] == wanted


def test_ctrl_c_leaves_no_server_and_no_file(archive, tmp_path):
    (tmp_path / "tmp").mkdir()
    tune = [sys.executable, "-m", "benchmarks.tune", str(archive), "--seconds", "30", "--write", tmp_path / "no"]
    command = ["env", "--default-signal=INT", *tune]  # a shell's background jobs, and so tests run as one, ignore it
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path / "tmp")}, cwd=Path.cwd()
    ) as process:
        said = next(line for line in process.stdout if line.startswith("knobs:"))
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert "echo.instances" in said
    assert process.returncode == 130
    assert children
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert [path for path in (tmp_path / "tmp").iterdir() if not path.name.startswith(".")] == []
    assert not (tmp_path / "no").exists()


def test_what_cannot_be_tuned_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty")
    assert done.exit_code == 1
    assert "holds no model" in done.output
    assert "give one goal" in run(tmp_path / "empty", "--p99-ms", 1, "--p50-ms", 1).output
    alone = repositories.python_echo(tmp_path / "alone", max_batch_size=0)
    assert "no 'alone.threads'; there are alone.instances" in run(alone, "--knob", "alone.threads").output
    assert "numbers of connections" in run(repositories.python_echo(tmp_path / "e"), "--concurrency", "many").output
