"""`roundhouse serve` as a process of its own, as a user starts it, on the loopback interface.

    with live_server(tmp_path, "--store", store, "--memory-budget", "80MiB") as server:
        requests.get(f"{server.base_url}/ping")

The block gets a server that said it is ready; afterwards it is stopped with SIGTERM and must leave with 0. In fixtures
of any scope it works alike. What the servers wrote is shown with a test that fails (`tests/integration/conftest.py`).
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.until import until

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"Roundhouse is ready on http://\S+:(\d+)\b")
START_S = 60
STOP_S = 40
SHOWN_CHARACTERS = 6000
_OURS = ("ROUNDHOUSE_", "SAGEMAKER_")

started: list["LiveServer"] = []
"""Every server of this test run whose log is worth showing; the hook in conftest.py drops those that ended."""


@dataclass
class LiveServer:
    """A server process. `port` is 0 until `await_ready`, unless it was chosen by the test."""

    process: "subprocess.Popen[bytes]"
    log: Path
    """Standard output and standard error, together."""
    port: int = 0
    exit_code: int | None = field(default=None)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    @property
    def base_url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def text(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace")

    def await_ready(self, timeout_s: float = START_S) -> None:
        """Wait for the line that says where it listens. Fails at once if the process ends instead."""

        def said() -> "re.Match[str] | None":
            found = READY.search(self.text())
            if found is None and not self.is_running:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.text()}")
            return found

        self.port = int(until(said, timeout_s, "the server's ready line")[1])

    def terminate(self) -> None:
        """Send SIGTERM and return at once."""
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Wait for the end; returns the exit code. A process that stays is killed, and the test fails."""
        try:
            self.exit_code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.exit_code = self.process.wait()
            raise AssertionError(f"the server did not end within {timeout_s:g} s and was killed") from error
        return self.exit_code

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Stop it as an orchestrator does, with SIGTERM. Fails unless it leaves with 0 in time. Idempotent."""
        self.terminate()
        code = self.wait(timeout_s)
        assert code == 0, f"the server left with {code} after SIGTERM"


def start(folder: Path, *flags: object, environ: Mapping[str, str] | None = None, port: int = 0) -> LiveServer:
    """Start `roundhouse serve` with `flags` and do not wait. End it with `stop`, or with `terminate` and `wait`.

    Log and disk cache lie in `folder`, which may serve several servers one after another. `environ` is added to this
    process's variables, of which settings of the server are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("roundhouse")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--cache-dir", str(folder / "cache"), "--log-format", "text", *map(str, flags)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    log = folder / f"server-{len(list(folder.glob('server-*.log')))}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **(environ or {})},
            cwd=ROOT,
            start_new_session=True,  # a Ctrl-C at the tests must not end the server before the test's own clean-up
        )
    server = LiveServer(process, log, port)
    started.append(server)
    return server


@contextmanager
def live_server(folder: Path, *flags: object, environ: Mapping[str, str] | None = None) -> Iterator[LiveServer]:
    """A server that is ready, on a free port. See the module."""
    server = start(folder, *flags, environ=environ)
    try:
        server.await_ready()
        yield server
    except BaseException:
        end_quietly(server)
        raise
    server.stop()


def end_quietly(server: LiveServer) -> None:
    """End it whatever its state, without adding a failure to the one that is on its way."""
    server.terminate()
    try:
        server.wait(STOP_S)
    except AssertionError:
        return


def free_port() -> int:
    """A port that nobody listens on, for tests that must know it before the server says it."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


def tail(server: LiveServer) -> str:
    """The end of its log, for a report."""
    text = server.text() if server.log.exists() else "(no log)"
    return text[-SHOWN_CHARACTERS:]
