"""The server under test as a process of its own: what it says about itself, and what it leaves behind."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Final
from urllib.parse import quote

import psutil

_READY: Final = re.compile(r"Roundhouse is ready on http://\S+:(\d+)\b")
_SHARED_MEMORY: Final = Path("/dev/shm")
START_S: Final = 90
STOP_S: Final = 45
CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Server:
    """A running `roundhouse serve`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, cache: Path) -> None:
        self.process = process
        self.log = log
        self.cache = cache
        self.port = 0
        self.seen: dict[int, psutil.Process] = {}
        """Every process that was ever seen below it."""
        self.segments_seen: set[str] = set()

    def await_ready(self) -> None:
        """Wait for the line that says where it listens."""
        deadline = perf_counter() + START_S
        while not (found := _READY.search(self.log.read_text(errors="replace"))):
            if self.process.poll() is not None or perf_counter() > deadline:
                raise RuntimeError(f"the server did not get ready:\n{self.log.read_text(errors='replace')[-3000:]}")
            sleep(0.1)
        self.port = int(found[1])

    def call(self, method: str, path: str, timeout_s: float = 60) -> tuple[int, Any]:
        """One request on a connection of its own; returns the status, and the JSON if there is some."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(body) if body[:1] in {b"{", b"["} else None

    def is_well(self) -> bool:
        """Whether `/ping` is 200: its engine runs."""
        return self.call("GET", "/ping")[0] == 200

    def residency(self) -> Any:
        """`/admin/residency`."""
        return self.call("GET", "/admin/residency")[1]

    def engine_pid(self) -> int | None:
        """The process id of tritonserver, where there is one."""
        pid = self.call("GET", "/admin/server")[1]["engine"].get("pid")
        return int(pid) if pid else None

    def unload(self, name: str) -> tuple[int, Any]:
        """Free an archive's memory; returns the status and what was said."""
        return self.call("POST", f"/admin/unload/{quote(name)}")

    def look_below(self) -> list[psutil.Process]:
        """The processes below it right now; they are remembered, and so is their shared memory."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen.update({each.pid: each for each in found})
        folders = [folder.name for folder in (self.cache / "triton").glob("triton-*")]
        self.segments_seen |= {name for name in shared_memory() if any(f"_{folder}_" in name for folder in folders)}
        return found

    def work_files(self) -> list[str]:
        """Files in its work folders: there are none while nothing is fetched."""
        work = self.cache / "tmp"
        return [str(path.relative_to(self.cache)) for path in work.rglob("*") if path.is_file()]

    def stop(self) -> int | None:
        """SIGTERM; returns the exit code, or None where it had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


def shared_memory() -> set[str]:
    """Names of all shared memory of this host."""
    return {path.name for path in _SHARED_MEMORY.iterdir()}


def alive(processes: Iterable[psutil.Process]) -> list[str]:
    """Which of them still run. Process ids that were given to others since do not count."""
    found = []
    for each in processes:
        try:
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{each.pid} {' '.join(each.cmdline())[:120]}")
        except psutil.NoSuchProcess:
            continue
    return found


@contextmanager
def serving(folder: Path, cache: Path, flags: Sequence[str]) -> Iterator[Server]:
    """A server that is ready; killed at the end if it still runs."""
    command = [str(Path(sys.executable).with_name("roundhouse")), "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--cache-dir", str(cache), "--log-format", "json", *flags]
    log = folder / "server.log"
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("ROUNDHOUSE_", "SAGEMAKER_"))
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **CREDENTIALS},
            start_new_session=True,
        )
    server = Server(process, log, cache)
    try:
        server.await_ready()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
