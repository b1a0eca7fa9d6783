"""A fake process that dies on command, a clock that stands still, a sleep that only notes how long."""

import asyncio

import pytest

from server.domain.errors import EngineLost
from server.engines.triton.process.backoff import Backoff
from server.engines.triton.process.supervisor import Supervisor, Timing
from tests.fakes.clock import FakeClock


class FakeRun:
    def __init__(self):
        self.ended = asyncio.get_running_loop().create_future()
        self.stops = 0

    async def wait(self):
        return await self.ended

    async def stop(self):
        self.stops += 1

    def die(self):
        self.ended.set_result(-9)


class World:
    def __init__(self):
        self.clock = FakeClock()
        self.runs = []
        self.failures = []
        self.waits = []
        self.deaths = []
        self.supervisor = Supervisor(self.launch, self.deaths.append, Timing(self.clock, self.sleep))

    async def launch(self):
        if self.failures:
            raise self.failures.pop(0)
        self.runs.append(FakeRun())
        return self.runs[-1]

    async def sleep(self, seconds):
        self.waits.append(seconds)

    async def after_death(self, ran_s):
        self.clock.advance(ran_s)
        dying = self.runs[-1]
        dying.die()
        await self.supervisor.noticed(dying, 1)
        return await self.supervisor.running(1)


@pytest.fixture
async def world():
    world = World()
    await world.supervisor.start()
    yield world
    await world.supervisor.stop()


async def test_a_death_is_told_cleaned_up_and_followed_by_a_restart(world):
    first = world.runs[0]
    running = await world.after_death(ran_s=5)
    assert world.deaths == [first]
    assert first.stops == 1
    assert running is world.runs[1]
    assert world.supervisor.restarts == 1


async def test_waits_double_and_start_over_after_a_healthy_minute(world):
    for ran_s in (1, 1, 1, 90, 1):
        await world.after_death(ran_s)
    assert world.waits == [0.5, 1.0, 2.0, 0.5, 1.0]


async def test_a_restart_that_fails_is_tried_again(world):
    world.failures = [EngineLost("no"), OSError("never")]
    assert await world.after_death(ran_s=1) is world.runs[1]
    assert world.waits == [0.5, 1.0, 2.0]
    assert world.supervisor.last_error == ""


async def test_while_there_is_none_callers_hear_why(world):
    await world.supervisor.stop()
    with pytest.raises(EngineLost, match="not running"):
        await world.supervisor.running(1)


async def test_stopping_ends_the_run_and_starts_no_other(world):
    await world.supervisor.stop()
    await world.supervisor.stop()
    assert world.runs[0].stops == 1
    assert len(world.runs) == 1
    assert world.deaths == []


async def test_a_first_start_that_fails_is_the_callers():
    world = World()
    world.failures = [EngineLost("no")]
    with pytest.raises(EngineLost, match="no"):
        await world.supervisor.start()


def test_waits_never_exceed_the_longest():
    backoff = Backoff()
    assert [backoff.after_run(0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
