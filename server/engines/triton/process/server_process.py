"""One run of tritonserver: started in a process group of its own, followed, ended, and cleaned up after."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from server.engines.triton.process.flags import LOOPBACK
from server.engines.triton.process.log_tail import LogTail
from server.engines.triton.process.runtime_folder import remove_segments

_TIED_START: Final = Path(__file__).with_name("tied_start.py")
_GROUP_POLL_S: Final = 0.02
_GROUP_POLLS: Final = 100


class ServerProcess:
    """A started tritonserver with its stubs. `clean` must be called at the end, whoever ended it."""

    def __init__(self, process: asyncio.subprocess.Process, tail: LogTail, shm_prefix: str) -> None:
        self._process = process
        self._shm_prefix = shm_prefix
        self._is_clean = False
        self.tail = tail
        assert process.stdout is not None
        self._following = asyncio.create_task(tail.follow(process.stdout))

    @classmethod
    async def start(
        cls, argv: Sequence[str], environment: Mapping[str, str], working_dir: Path, shm_prefix: str, tail: LogTail
    ) -> "ServerProcess":
        """Start `argv` tied to the life of this process. Raises OSError if it cannot be started at all."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_TIED_START), str(os.getpid()), *argv),
            env=dict(environment),
            cwd=working_dir,  # the Python stub has it on sys.path: nothing must lie in it
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(process, tail, shm_prefix)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not been seen to end."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for its end. Returns the exit status, negative for a signal."""
        return await self._process.wait()

    def kill(self) -> None:
        """Kill tritonserver at once. Its stubs stay until `clean`."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, timeout_s: float) -> None:
        """Ask it to end, kill it if it does not within `timeout_s`, and clean up. Idempotent."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), timeout_s)
        await self.clean()

    async def clean(self) -> None:
        """Kill what is left of the process group, and remove its shared memory. Idempotent."""
        if self._is_clean:  # by now the group's number may belong to somebody else
            return
        self._is_clean = True
        self._signal_group(signal.SIGKILL)
        await self._process.wait()
        for _ in range(_GROUP_POLLS):
            if not self._signal_group(0):
                break
            await asyncio.sleep(_GROUP_POLL_S)
        remove_segments(self._shm_prefix)
        await self._following

    def _signal_group(self, number: int) -> bool:
        """Signal every process of the group; whether there was one."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def free_ports(count: int, among: Sequence[int] = (0,) * 8) -> list[int]:
    """Different ports on loopback that nobody listens on right now; `among` are those to try, 0 is any.

    Raises:
        OSError: there are not so many.
    """
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in among:
            if len(found) == count:
                break
            each = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                each.bind((LOOPBACK, port))
                found.append(each.getsockname()[1])
    if len(found) < count:
        tried = f"{min(among)} to {max(among)}" if among else "none"
        raise OSError(f"fewer than {count} ports are free among {tried}")
    return found
