"""The loop that looks for what will be asked for: now and then, idle or not, and whatever happens."""

import asyncio
import logging

import pytest

from server.lifespan.prefetching import FEW, PAUSE_S, prefetching
from server.lifespan.process import Life
from server.lifespan.with_tiers import with_tiers

pytestmark = pytest.mark.looptime


class Looker:
    """Remembers when it was told to look, and whether the server was idle."""

    def __init__(self):
        self.looks = []
        self.fails = False

    async def look(self, *, is_idle):
        self.looks.append((asyncio.get_running_loop().time(), is_idle))
        if self.fails:
            raise RuntimeError("a bug")


async def test_it_looks_again_and_again_and_says_whether_the_server_is_idle():
    looker, running = Looker(), 0
    rounds = prefetching(looker, lambda: running)
    began = asyncio.get_running_loop().time()
    rounds.begin()
    await asyncio.sleep(1.5 * PAUSE_S)
    running = FEW + 1
    await asyncio.sleep(PAUSE_S)
    await rounds.end()
    await asyncio.sleep(10 * PAUSE_S)
    assert looker.looks == [(began + PAUSE_S, True), (began + 2 * PAUSE_S, False)]


async def test_a_bug_in_it_is_logged_and_it_goes_on(caplog):
    looker = Looker()
    looker.fails = True
    rounds = prefetching(looker, lambda: 0)
    rounds.begin()
    with caplog.at_level(logging.ERROR):
        await asyncio.sleep(2.5 * PAUSE_S)
    await rounds.end()
    assert len(looker.looks) == 2
    assert [record.getMessage() for record in caplog.records] == ["prefetching failed, and goes on"] * 2


async def test_guessing_begins_last_and_ends_first_and_the_host_tier_ends_last():
    said = []

    class Part:
        def __init__(self, name):
            self.name = name

        def begin(self):
            said.append(f"{self.name} begins")

        async def end(self):
            said.append(f"{self.name} ends")

        def close(self):
            said.append(f"{self.name} ends")

    async def begin():
        said.append("server begins")

    async def drain(timeout_s):
        said.append("server drains")

    async def end():
        said.append("server ends")

    life = with_tiers(Life(begin, drain, end), Part("host"), Part("guessing"))
    await life.begin()
    await life.drain(1.0)
    await life.end()
    assert said == ["server begins", "guessing begins", "server drains", "guessing ends", "server ends", "host ends"]


async def test_without_tiers_the_life_is_as_it_was():
    said = []

    async def note(*_):
        said.append("x")

    life = with_tiers(Life(note, note, note), None, None)
    await life.begin()
    await life.end()
    assert said == ["x", "x"]
