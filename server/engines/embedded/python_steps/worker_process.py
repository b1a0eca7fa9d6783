"""A worker process seen from the server: started, watched, ended. Knows nothing of models."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import server
from server.domain.clock import Clock
from server.engines.embedded.python_steps.output_log import OutputLog
from server.engines.embedded.python_steps.wire import Connection
from server.engines.process_memory import own_bytes

_MODULE: Final = "server.engines.embedded.python_steps.worker"
_IMPORT_ROOT: Final = str(Path(server.__file__).resolve().parents[1])
_EXIT_GRACE_S: Final = 5.0
_FROM_OUTSIDE: Final = frozenset({-signal.SIGKILL, -signal.SIGTERM})
"""Whoever ends by these was ended by somebody: the kernel that ran out of memory, an operator."""


class Spawner:
    """Starts processes from one thread of its own.

    Linux ends a worker when the *thread* that started it ends (PR_SET_PDEATHSIG), so that thread must outlive them.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "python-step-spawner")

    def start(self, argv: list[str], descriptor: int, output: int) -> "subprocess.Popen[bytes]":
        """Start a process that inherits `descriptor`; its stdout and stderr go to `output`. Raises OSError."""
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        paths = [_IMPORT_ROOT, *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)

        def popen() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(descriptor,),
                env=environment,
                start_new_session=True,  # a group of its own: Ctrl-C spares it, and its children end with it
            )

        return self._thread.submit(popen).result()

    def close(self) -> None:
        """End the thread, and with it any worker that is left."""
        self._thread.shutdown()


class WorkerProcess:
    """One running worker, its connection, and its log."""

    def __init__(self, name: str, spawner: Spawner, clock: Clock) -> None:
        """Start it. Raises OSError."""
        ours, theirs = socket.socketpair()
        read_end, write_end = os.pipe()
        argv = [sys.executable, "-P", "-u", "-X", "faulthandler", "-m", _MODULE, str(theirs.fileno()), str(os.getpid())]
        try:
            self._process = spawner.start(argv, theirs.fileno(), write_end)
        except BaseException:
            ours.close()
            os.close(read_end)
            raise
        finally:
            theirs.close()
            os.close(write_end)
        self.connection = Connection(ours)
        self._output = OutputLog(read_end, f"{name}[{self._process.pid}]", clock)
        self._output_thread = threading.Thread(target=self._output.drain, name=f"log of {name}", daemon=True)
        self._output_thread.start()
        self._end = threading.Lock()
        self._has_ended = False
        self.was_killed = False
        """Once it has ended: somebody else killed it, neither its own code nor we."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it still runs. Leaves a dead one as it is, so that its id cannot be reused yet."""
        if self._has_ended:
            return False
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        return False

    def end(self, grace_s: float = 0.0) -> str:
        """Wait up to `grace_s` for it to exit, kill it and its children, free everything; tell how it ended.

        Idempotent, and safe from several threads.
        """
        with self._end:
            if not self._has_ended:
                ended_itself = self._wait(grace_s)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()
                self._has_ended = True
                self.was_killed = ended_itself and self._process.returncode in _FROM_OUTSIDE
                self.connection.close()
                self._output_thread.join(_EXIT_GRACE_S)
        return _told(self._process.returncode)

    def _wait(self, grace_s: float) -> bool:
        """Wait for the exit without reaping: the group must still exist when it is killed. Returns whether it came."""
        if grace_s <= 0:
            return False
        descriptor = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(grace_s * 1000))
        finally:
            os.close(descriptor)

    def memory_bytes(self) -> int:
        """Its own memory, libraries not included. 0 where it is gone."""
        return own_bytes(self.pid)


def _told(return_code: int) -> str:
    """`Popen.returncode` in words."""
    if return_code >= 0:
        return f"exited with code {return_code}"
    try:
        name = signal.Signals(-return_code).name
    except ValueError:
        name = "unknown"
    return f"exited with signal {-return_code} ({name})"
