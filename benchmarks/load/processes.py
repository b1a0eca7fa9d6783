"""Starts what is measured, in processes of its own, and stops it by process id."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.closed_loop import Load, Outcome
from benchmarks.load.generator import chosen

ROUNDHOUSE = Path(sys.executable).with_name("roundhouse")
_READY = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True)
class Started:
    """A server that said it is ready."""

    port: int
    pid: int


@contextmanager
def serving(store: Path, *flags: str, log: Path | None = None) -> Iterator[int]:
    """A Roundhouse on a free loopback port; yields the port once it says it is ready. `log` gets what it logs."""
    with started(str(store), *flags, log=log) as server:
        yield server.port


@contextmanager
def started(
    store: str, *flags: str, log: Path | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Started]:
    """Like `serving`, for any address of a store, with `environ` added; a Ctrl-C at the terminal does not reach it.

    Raises:
        RuntimeError: it ended before it was ready; names the end of its log.
    """
    command = [str(ROUNDHOUSE), "serve", "--store", store, "--host", "127.0.0.1", "--port", "0", *flags]
    with until_ready(command, _READY, log=log, environ=environ) as server:
        yield server


@contextmanager
def until_ready(
    command: Sequence[str],
    ready: re.Pattern[str],
    *,
    log: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Started]:
    """Run a server; yields once a line that it prints matches `ready`, whose first group is its port.

    Raises:
        RuntimeError: it ended before that; names the end of its log.
    """
    with tempfile.TemporaryDirectory() as folder, (log or Path(folder, "log")).open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | (environ or {}),
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := ready.search(line):
                    yield Started(int(found.group(1)), process.pid)
                    return
            said = Path(errors.name).read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.wait()} before it was ready {said}")
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def free_port(among: Sequence[int] = (0,)) -> int:
    """A loopback port that nothing listened on a moment ago, the first of those if any are named.

    Raises:
        OSError: all of those are taken.
    """
    for port in among:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"all ports from {among[0]} on are taken")


def put(load: Load) -> Outcome:
    """Run a closed loop in a process of its own. Raises RuntimeError where it ended without an outcome."""
    return put_together([load])[0]


def put_together(loads: Sequence[Load]) -> list[Outcome]:
    """Run closed loops at the same time, with whichever generator there is.

    Raises:
        RuntimeError: one ended without an outcome; names what it said.
    """
    return chosen().put_together(loads)


def measured(load: Load) -> dict[str, float]:
    """What a closed loop saw, as a row of figures. Raises RuntimeError where an answer was not 200."""
    return measured_together([load])[0]


def measured_together(loads: Sequence[Load]) -> list[dict[str, float]]:
    """Like `measured`, for several loops at once."""
    rows = []
    for load, outcome in zip(loads, put_together(loads), strict=True):
        if outcome.failed:
            raise RuntimeError(f"{outcome.failed} of {outcome.requests} requests failed: {load.path} {load.headers}")
        rows.append({"requests_per_s": outcome.requests_per_s, "p50_ms": outcome.p50_ms, "p99_ms": outcome.p99_ms})
    return rows


def baseline(module: str, *arguments: str) -> dict[str, float]:
    """Run one of `benchmarks.baselines` in a process of its own; returns what it prints.

    Raises:
        RuntimeError: it failed; names what it said.
    """
    command = [sys.executable, "-m", f"benchmarks.baselines.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} failed: {done.stderr.strip()[-500:]}")
    return dict(json.loads(done.stdout))
