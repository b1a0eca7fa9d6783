"""Starts the workers, starts those again that die, kills those that are overdue, and ends them all.

Each worker has a listening socket of its own on the public port (SO_REUSEPORT: the kernel deals new connections out).
This process keeps it open as well, so that connections which nobody has accepted yet survive a worker's death and wait
for the next one. A worker is seen to be dead by its closed channel; before its leases are given back it *is* dead.
"""

import asyncio
import contextlib
import logging
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from server.domain.clock import Clock
from server.engines.triton.process.backoff import Backoff
from server.workers.channel import Channel
from server.workers.home.desk import TICK_S, Counter, Desk
from server.workers.words import Leave, Ready, Welcome

_log = logging.getLogger(__name__)
PROGRAM: Final = (sys.executable, "-P", "-m", "server.workers")
LEAVE_S: Final = 3.0
"""How long a worker may take to close its connections and end."""


def open_port(host: str, port: int, count: int) -> list[socket.socket]:
    """Listening sockets that share a port, 0 for a free one. Raises OSError, with the address in its text."""
    opened: list[socket.socket] = []
    try:
        # Without the option first: a port that another server shares already must be refused, not shared with it.
        with socket.create_server((host, port)) as probe:
            port = int(probe.getsockname()[1])
        while len(opened) < count:
            opened.append(socket.create_server((host, port), backlog=2048, reuse_port=True))
    except OSError as error:
        for each in opened:
            each.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return opened


class RelayFolder:
    """A private folder with the socket where this process answers what workers pass on."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._folder = Path(tempfile.mkdtemp(prefix="roundhouse-"))
        self.path = str(self._folder / "home")
        self.opened = socket.socket(socket.AF_UNIX)
        self.opened.bind(self.path)
        self.opened.listen(2048)

    def remove(self) -> None:
        """The server is down."""
        self.opened.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass
class Post:
    """One worker's place: its socket, and whoever fills it now."""

    number: int
    listener: socket.socket
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=0.25, longest_s=10.0, healthy_after_s=10.0))
    process: asyncio.subprocess.Process | None = None
    channel: Channel | None = None


class Workforce:
    """As many workers as there are listeners. Lives on one event loop."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        welcome: Welcome,
        desk: Desk,
        clock: Clock,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """`program` gets the numbers of two open files as its arguments: its channel, and its listener."""
        self._posts = [Post(number, listener) for number, listener in enumerate(listeners, 1)]
        self._welcome = welcome
        self._desk = desk
        self._clock = clock
        self._program = program
        self._tasks: list[asyncio.Task[None]] = []
        self._is_leaving = False
        self._ready = asyncio.Event()

    def begin(self) -> None:
        """Start all workers, and keep them running."""
        self._tasks = [asyncio.create_task(self._fill(post), name=f"worker {post.number}") for post in self._posts]

    async def ready(self) -> None:
        """Returns when a worker accepts connections, or will never: the port is answered from then on."""
        await self._ready.wait()

    async def drain(self, timeout_s: float) -> None:
        """Call all leases back, and wait for that. What comes from now on is passed on to the home process."""
        self._desk.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._desk.has_all.wait()

    async def end(self) -> None:
        """Close the port and end all workers. Idempotent."""
        self._is_leaving = True
        for post in self._posts:
            post.listener.close()
            if post.channel is not None:
                post.channel.say(Leave())
        running = [task for task in self._tasks if not task.done()]
        if running:
            _, late = await asyncio.wait(running, timeout=LEAVE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _fill(self, post: Post) -> None:
        """Keep a worker at its post until everything ends."""
        while not self._is_leaving:
            began = self._clock.now()
            try:
                await self._employ(post)
            except OSError as error:
                _log.error("front-end worker %d cannot be started: %s", post.number, error)
            except Exception:
                _log.exception("front-end worker %d was not understood", post.number)
            if self._is_leaving:
                return
            pause_s = post.backoff.after_run(self._clock.now() - began)
            _log.warning("front-end worker %d ended; another one starts in %g s", post.number, pause_s)
            self._ready.set()
            await asyncio.sleep(pause_s)

    async def _employ(self, post: Post) -> None:
        """Start a worker, listen to it, and see it dead. Raises OSError if it cannot be started."""
        ours, theirs = socket.socketpair()
        try:
            fds = theirs.fileno(), post.listener.fileno()
            process = post.process = await asyncio.create_subprocess_exec(
                *(*self._program, *map(str, fds)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        channel = post.channel = await Channel.over(ours)
        counter = self._desk.open(channel, process.pid)
        watching = asyncio.create_task(self._watch(post, counter))
        try:
            channel.say(self._welcome)
            async for word in channel:
                if isinstance(word, Ready):
                    self._ready.set()
                self._desk.hear(counter, word)
        finally:
            watching.cancel()
            channel.close()
            post.channel = None
            await self._see_dead(post, process)
            self._desk.close(counter)  # only now nobody uses what it was lent

    async def _see_dead(self, post: Post, process: asyncio.subprocess.Process) -> None:
        """A worker whose channel is closed ends by itself; one that does not is killed."""
        waiting = asyncio.ensure_future(process.wait())
        try:
            if self._is_leaving:
                await asyncio.wait({waiting}, timeout=LEAVE_S)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await waiting
        post.process = None

    async def _watch(self, post: Post, counter: Counter) -> None:
        """Kill the worker where it is overdue."""
        while True:
            await asyncio.sleep(TICK_S)
            reason = self._desk.overdue(counter)
            if reason and post.process is not None:
                _log.error("front-end worker %d is killed: %s", post.number, reason)
                with contextlib.suppress(ProcessLookupError):
                    post.process.kill()
                return
