"""Starts a peer in a process of its own, and ends it and all that it started."""

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import Final

import psutil

from benchmarks.load.processes import Started, until_ready

_READY = re.compile(r"ready on port (\d+)")
_ROOT: Final = Path(__file__).parents[3]
_PATIENCE_S: Final = 180.0
_GRACE_S: Final = 20.0


@contextmanager
def server_process(arguments: Sequence[str], python: str = sys.executable) -> Iterator[Started]:
    """Run Python with `arguments`; yields once the process printed `ready on port N`.

    Raises:
        RuntimeError: it ended before that; names the end of what it said.
    """
    with until_ready([python, *arguments], _READY) as server:
        yield server


@contextmanager
def until_answering(
    command: Sequence[str], port: int, path: str, body: str = "", environ: Mapping[str, str] | None = None
) -> Iterator[Started]:
    """Run a command; yields once `path` is answered with 200: GET, or POST of `body` where there is one.

    It runs from this checkout's root, whose packages it can import. In the end it and all its children are ended, by
    process id, those first asked to that are its own.

    Raises:
        RuntimeError: it ended, or did not answer in three minutes; names the end of its log.
    """
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        more = {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1", "PATH": _path(command[0]), **(environ or {})}
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | more, cwd=_ROOT, start_new_session=True
        )
        try:
            _wait(process, port, path, body, Path(folder, "log"))
            yield Started(port, process.pid)
        finally:
            _end(process)


def _path(program: str) -> str:
    """With the programs of the environment first: servers start others by name."""
    return f"{Path(program).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def _wait(process: subprocess.Popen[bytes], port: int, path: str, body: str, log: Path) -> None:
    until, last = perf_counter() + _PATIENCE_S, "nothing"
    while process.poll() is None and perf_counter() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST" if body else "GET", path, body or None, {"content-type": "application/json"})
            answer = connection.getresponse()
            last = f"{answer.status} {answer.read()[:200].decode(errors='replace')}"
            if answer.status == 200:
                return
        except OSError as error:
            last = str(error)
        except http.client.HTTPException as error:
            last = repr(error)
        finally:
            connection.close()
        sleep(0.3)
    raise RuntimeError(f"no good answer to {path}, last {last}; its log: {log.read_text(errors='replace')[-1500:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    left = [each for each in family if each.is_running()]
    for each in left:
        _signal(each, signal.SIGTERM)
    _, alive = psutil.wait_procs(left, timeout=_GRACE_S)
    for each in alive:
        _signal(each, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=_GRACE_S)


def _signal(process: psutil.Process, which: signal.Signals) -> None:
    try:
        process.send_signal(which)
    except psutil.NoSuchProcess:
        return
