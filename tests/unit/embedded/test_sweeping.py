"""Memory is given back once for many small unloads, at once for large ones, and before anything is measured."""

import asyncio

import pytest

from server.engines.embedded.memory.sweeping import COLLECTING_SHARE, LATER_S, MOST_OWED_BYTES, GivingBack, Sweeping
from server.engines.load_turns import LoadTurns

pytestmark = pytest.mark.looptime


class Counted:
    """Workers without threads, who count."""

    def __init__(self):
        self.sweeps = 0

    async def call(self, work):
        self.sweeps += 1
        return work()


@pytest.fixture
def workers():
    return Counted()


@pytest.fixture
def sweeping(workers):
    return Sweeping(workers, LoadTurns(), lambda: None)


async def test_a_burst_of_small_steps_is_swept_once(sweeping, workers):
    for _ in range(20):
        await sweeping.freed(1000)
        await asyncio.sleep(LATER_S / 40)
    assert workers.sweeps == 0
    await asyncio.sleep(LATER_S)
    assert workers.sweeps == 1
    await asyncio.sleep(10 * LATER_S)
    assert workers.sweeps == 1


async def test_large_steps_do_not_wait(sweeping, workers):
    await sweeping.freed(MOST_OWED_BYTES)
    assert workers.sweeps == 1
    await sweeping.freed(MOST_OWED_BYTES // 2)
    await sweeping.freed(MOST_OWED_BYTES // 2)
    assert workers.sweeps == 2


async def test_who_measures_sweeps_before_and_only_what_is_owed(sweeping, workers):
    await sweeping.sweep()
    assert workers.sweeps == 0
    await sweeping.freed(0)
    await sweeping.sweep()
    assert workers.sweeps == 1


async def test_it_is_done_at_the_end(sweeping, workers):
    await sweeping.freed(1)
    await sweeping.close()
    assert workers.sweeps == 1


async def test_garbage_that_had_to_wait_for_its_share_of_the_time_is_collected_although_nothing_comes(workers):
    collected, took_s = [], 0.1

    def collect():
        collected.append(now())
        clock.append(took_s)

    clock = []
    loop = asyncio.get_running_loop()

    def now():
        return loop.time() + sum(clock)

    giving_back = GivingBack(now, collect, lambda: None)
    sweeping = Sweeping(workers, LoadTurns(), giving_back)
    await sweeping.freed(MOST_OWED_BYTES)
    await sweeping.freed(MOST_OWED_BYTES)
    assert (len(collected), workers.sweeps) == (1, 2)
    await asyncio.sleep(took_s / COLLECTING_SHARE + 2 * LATER_S)
    assert (len(collected), workers.sweeps) == (2, 3)
    await asyncio.sleep(100.0)
    assert (len(collected), workers.sweeps) == (2, 3)
    await sweeping.close()


async def test_after_the_end_nothing_is_swept_any_more(workers):
    sweeping = Sweeping(workers, LoadTurns(), lambda: 5.0)
    await sweeping.freed(1)
    await sweeping.close()
    await asyncio.sleep(100.0)
    assert workers.sweeps == 1


@pytest.mark.parametrize(("took_s", "most"), [(0.0, 1000), (0.002, 100), (0.1, 3)])
def test_collecting_has_a_share_of_the_time_and_pages_are_given_back_always(took_s, most):
    now, collected, released = 1.0, 0, 0

    def collect():
        nonlocal now, collected
        now += took_s
        collected += 1

    def release():
        nonlocal released
        released += 1

    giving_back = GivingBack(lambda: now, collect, release)
    for _ in range(1000):
        giving_back()
        now += 0.01
    assert released == 1000
    assert 1 <= collected <= most
    assert collected * took_s <= COLLECTING_SHARE * (now - 1.0) + took_s
