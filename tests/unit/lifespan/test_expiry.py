"""Archives that nobody asks for leave by themselves, while the clock of residency and the loop's time agree."""

import asyncio

import pytest

from server.domain.model import CPU
from server.lifespan.expiry import expiry
from server.residency.options import ResidencyOptions
from server.residency.residency import Residency
from tests.fakes.engine import FakeEngine
from tests.fakes.source import FakeSource, archive

pytestmark = pytest.mark.looptime


class LoopClock:
    """The loop's time, which jumps under looptime."""

    def now(self):
        return asyncio.get_running_loop().time()

    def wall(self):
        return self.now()


@pytest.fixture
async def residency():
    made = Residency(
        FakeEngine(),
        FakeSource(*map(archive, "abc")),
        {CPU: 100},
        LoopClock(),
        ResidencyOptions(time_to_live_s=60.0, close_timeout_s=1.0),
    )
    yield made
    await made.close()


async def ask(residency, name):
    (await residency.lease(name, 5.0)).release()


async def test_what_nobody_asks_for_goes_in_time(residency):
    rounds = expiry(residency, 60.0)
    rounds.begin()
    residency.pin("c")
    for name in "abc":
        await ask(residency, name)
    await asyncio.sleep(50)
    await ask(residency, "b")
    assert sorted(residency.resident_names()) == ["a", "b", "c"]
    await asyncio.sleep(30)  # "a" is 80 s old: its time and a quarter of it are over
    assert sorted(residency.resident_names()) == ["b", "c"]
    await asyncio.sleep(60)
    assert residency.resident_names() == ["c"]
    assert residency.snapshot()["evictions"][0]["reason"] == "idle for longer than its time to live"
    await rounds.end()


async def test_an_archive_in_use_stays(residency):
    rounds = expiry(residency, 60.0)
    rounds.begin()
    lease = await residency.lease("a", 5.0)
    await asyncio.sleep(600)
    assert residency.resident_names() == ["a"]
    lease.release()
    await asyncio.sleep(80)
    assert residency.resident_names() == []
    await rounds.end()


async def test_without_a_time_to_live_nothing_looks(residency):
    before = asyncio.all_tasks()
    rounds = expiry(residency, None)
    rounds.begin()
    assert asyncio.all_tasks() == before
    await rounds.end()


async def test_after_the_end_nothing_leaves(residency):
    rounds = expiry(residency, 60.0)
    rounds.begin()
    await ask(residency, "a")
    await rounds.end()
    await rounds.end()
    await asyncio.sleep(600)
    assert residency.resident_names() == ["a"]


@pytest.mark.parametrize(("ttl_s", "looks"), [(1.0, 41), (60.0, 1), (3600.0, 0)])
async def test_a_long_life_is_looked_at_twice_a_minute_and_a_short_one_more_often(ttl_s, looks):
    class Counting:
        count = 0

        def expire(self):
            self.count += 1

    counting = Counting()
    rounds = expiry(counting, ttl_s)
    rounds.begin()
    await asyncio.sleep(10.3 if ttl_s < 60 else 15.1)
    assert counting.count == looks
    await asyncio.sleep(60)
    assert counting.count > looks
    await rounds.end()
