"""Closed loops driven by wrk, a load generator in C: it takes a tenth of the core that a loop in Python takes.

wrk corrects its percentiles upwards for coordinated omission: for a latency n beyond twice the mean it adds made ones
at n - mean, n - 2 mean, ... What is reported here are the latencies that were measured: the correction is undone, which
is exact, since it only ever adds down from above; that the counts then equal the answers is checked in every run.

When the time is over wrk leaves and forgets the requests under way, which matters where answers take long: what the
server did for those would not count, and it might go on with them. So where an answer takes some milliseconds, the
script stops sending when the time is over, and the run ends with the last answer. Where answers are quick, watching
each would cost more than it brings; one more request is waited for instead before the next measurement begins.
"""

import http.client
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from time import perf_counter, sleep
from typing import Final, Self

import psutil

from benchmarks.load.closed_loop import Load, Outcome, outcome_of
from benchmarks.load.wrk_script import SCRIPT

FOLDER: Final = Path("var/wrk")
"""Where `make wrk` puts one."""
_PATIENCE_S: Final = 30
"""An answer that takes longer counts as failed."""
_GLANCE_S: Final = 0.005
_SLOW_S: Final = 0.003
"""An answer from which each is watched."""
_VERY: Final = 20


class WrkFailed(RuntimeError):
    """wrk ended badly, or what it said does not add up. The message has what it said."""


@dataclass(frozen=True, slots=True)
class Wrk:
    """An installed wrk; `libraries` is where its LuaJIT lies if it came without the system's.

    An answer that takes longer than `slow_s` before the load says that its answers are watched.
    """

    binary: Path
    libraries: Path | None = None
    slow_s: float = _SLOW_S

    @property
    def name(self) -> str:
        """With its version, as results tell it."""
        # it has no way of saying its version without complaining about the rest of the command line
        said = subprocess.run([self.binary, "-v"], capture_output=True, text=True, check=False, env=self._environ())
        words = said.stdout.split()
        return f"wrk {words[1] if len(words) > 1 else '?'} (C), one thread"

    def put_together(self, loads: Sequence[Load]) -> list[Outcome]:
        """Run closed loops at the same time, each in a process of its own.

        Raises:
            WrkFailed: one ended without an outcome.
        """
        are_slow = [self._is_slow(load) for load in loads]
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            runs = []
            for index, (load, is_slow) in enumerate(zip(loads, are_slow, strict=True)):
                stem = Path(folder, f"{index}")
                run = _Run(self._command(load, stem, is_slow), load, self._environ(), stem if is_slow else None)
                runs.append(stack.enter_context(run))
            for run in sorted(runs, key=lambda run: run.load.seconds):
                run.wait()
            found = [run.outcome() for run in runs]
        for load, is_slow in zip(loads, are_slow, strict=True):
            if not is_slow:
                _asked(load, "after")
        return found

    def _is_slow(self, load: Load) -> bool:
        """A server's first answer may be slower than all others: unless it was very slow, it is asked again."""
        first = _asked(load, "before")
        if not self.slow_s < first < _VERY * self.slow_s:
            return first > self.slow_s
        return min(_asked(load, "before") for _ in range(2)) > self.slow_s

    def _command(self, load: Load, stem: Path, is_slow: bool) -> list[str]:
        """Writes the requests and the script beside each other; every body gets its own complete request."""
        requests = load.requests()
        stem.with_suffix(".bin").write_bytes(b"".join(requests))
        stem.with_suffix(".lua").write_text(SCRIPT)
        most = ceil(load.seconds) + 2 * _PATIENCE_S  # it is ended by a signal: wrk itself counts whole seconds only
        return [
            *(str(self.binary), "-t1", f"-c{load.concurrency}", f"-d{most}s", f"--timeout={_PATIENCE_S}s"),
            *("-s", str(stem.with_suffix(".lua")), f"http://{load.host}:{load.port}{load.path}", "--"),
            *(str(stem.with_suffix(".bin")), str(stem), str(load.seconds if is_slow else 0)),
            *(str(len(request)) for request in requests),
        ]

    def _environ(self) -> dict[str, str]:
        more = {} if self.libraries is None else {"LD_LIBRARY_PATH": str(self.libraries)}
        return os.environ | more


class _Run:
    """One wrk under way; leaving the context ends it."""

    def __init__(self, command: Sequence[str], load: Load, environ: Mapping[str, str], ended: Path | None) -> None:
        """`ended` is the file that says that the last answer came, where that is watched."""
        self.load = load
        self._ended = ended
        self._used = cpu_s(load.pid)
        self._began = perf_counter()
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def wait(self) -> None:
        """Let it go on until its time is over, or its last answer came, and stop it."""
        until = self._began + self.load.seconds
        try:
            self._process.wait(max(0.0, until - perf_counter()))
        except subprocess.TimeoutExpired:
            while self._is_owed() and perf_counter() < until + _PATIENCE_S:
                sleep(_GLANCE_S)
            self._used = cpu_s(self.load.pid) - self._used
            self._process.send_signal(signal.SIGINT)

    def _is_owed(self) -> bool:
        return self._ended is not None and not self._ended.exists() and self._process.poll() is None

    def outcome(self) -> Outcome:
        """What it counted."""
        try:
            said, errors = self._process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise WrkFailed("wrk did not end when its time was over") from error
        if self._process.returncode or "\n@ " not in said:
            raise WrkFailed(f"wrk ended with {self._process.returncode}: {(errors or said).strip()[-500:]}")
        return parsed(said, self.load.concurrency, self._used if self.load.pid else None)


def parsed(said: str, concurrency: int, server_cpu_s: float | None = None) -> Outcome:
    """The outcome in what the script printed.

    Raises:
        WrkFailed: the latencies are not as many as the answers, so they are not what was measured.
    """
    (summary,) = (line for line in said.splitlines() if line.startswith("@ "))
    duration_us, answers, failed = map(int, summary.split()[1:4])
    elapsed_s = float(summary.split()[4]) or duration_us / 1e6
    corrected = {int(line.split()[1]): int(line.split()[2]) for line in said.splitlines() if line.startswith("= ")}
    if not answers:
        raise WrkFailed(f"nothing was answered; {failed} failed")
    raw = uncorrected(corrected, duration_us, answers, concurrency)
    if not failed and sum(raw.values()) != answers:
        raise WrkFailed(f"{sum(raw.values())} latencies of {answers} answers: this wrk corrects in another way")
    return outcome_of(raw.items(), elapsed_s, failed, server_cpu_s)


def uncorrected(corrected: Mapping[int, int], duration_us: int, answers: int, concurrency: int) -> dict[int, int]:
    """Counts by latency in microseconds, without those that wrk made.

    wrk's step is what a connection takes for a request on average. Above one step each latency has been given the
    counts of all that lie whole steps above it, so what remains without those of one step above is its own.
    """
    if answers // concurrency == 0:
        return dict(corrected)
    step = duration_us // (answers // concurrency)
    raw = {each: count - (corrected.get(each + step, 0) if each > step else 0) for each, count in corrected.items()}
    return {each: count for each, count in raw.items() if count}


def cpu_s(pid: int | None) -> float:
    """CPU seconds of a process and its living children so far; 0 for none."""
    if pid is None:
        return 0.0
    total = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            total += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def _asked(load: Load, when: str) -> float:
    """Send one request, which a server answers after all that it owes; how long that took, in seconds.

    Raises:
        WrkFailed: it was not answered with 200.
    """
    connection = http.client.HTTPConnection(load.host, load.port, timeout=60)
    began = perf_counter()
    try:
        connection.request("POST", load.path, load.raw_bodies()[-1], load.headers)
        answer = connection.getresponse()
        said = answer.read()
    except OSError as error:
        raise WrkFailed(f"{when} the load, {load.path} was not answered: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        begin = said[:200].decode(errors="replace")
        raise WrkFailed(f"{when} the load, {load.path} was answered {answer.status}: {begin}")
    return perf_counter() - began


def found(folder: Path = FOLDER) -> Wrk | None:
    """The wrk of this checkout, else the system's, else none."""
    own = folder / "usr/bin/wrk"
    if own.is_file():
        return Wrk(own.resolve(), next((each.parent for each in folder.resolve().rglob("libluajit-5.1.so.2")), None))
    system = shutil.which("wrk")
    return Wrk(Path(system)) if system else None
