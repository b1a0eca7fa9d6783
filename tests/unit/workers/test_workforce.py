"""Workers as processes: one that hangs is killed before its leases are given back, and the port is not shared by chance."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from server.domain.clock import SystemClock
from server.workers.home.desk import Desk
from server.workers.home.lent_out import Patience
from server.workers.home.workforce import RelayFolder, Workforce, open_port
from server.workers.words import Welcome

HANGS = (sys.executable, "-S", "-c", "import signal\nsignal.pause()")
ENDS = (sys.executable, "-S", "-c", "")


class Watched(Desk):
    """A desk that knows which process it closed, and whether that was dead."""

    def __init__(self, patience):
        super().__init__(None, lambda _: None, lambda _: None, None, SystemClock(), 0.5, patience)
        self.closed = []
        self.has_closed = asyncio.Event()

    def close(self, counter):
        super().close(counter)
        self.closed.append(counter.pid)
        if len(self.closed) >= 2:
            self.has_closed.set()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("program", [HANGS, ENDS], ids=["hangs", "ends"])
async def test_a_worker_that_hangs_or_ends_is_replaced_when_it_is_dead(program):
    desk = Watched(Patience(start_s=0.1, silent_s=0.1))
    listeners = open_port("127.0.0.1", 0, 1)
    workforce = Workforce(listeners, Welcome("{}", "", notes_arrivals=False), desk, SystemClock(), program)
    workforce.begin()
    async with asyncio.timeout(20):
        await desk.has_closed.wait()
        await workforce.ready()  # nobody waits for ever for workers that never get ready
    await workforce.end()
    assert len(set(desk.closed)) >= 2
    assert not any(is_alive(pid) for pid in desk.closed)


def test_workers_share_a_port_and_nobody_else_does():
    listeners = open_port("127.0.0.1", 0, 3)
    ports = {each.getsockname()[1] for each in listeners}
    assert len(ports) == 1
    with pytest.raises(OSError, match="cannot listen"):
        open_port("127.0.0.1", ports.pop(), 2)
    for each in listeners:
        each.close()


def test_only_this_user_reaches_the_home_process():
    folder = RelayFolder()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(folder.path)
    assert folder._folder.stat().st_mode & 0o777 == 0o700
    folder.remove()
    assert not folder._folder.exists()
