"""Ending a run on purpose: nobody is told of a death, and there is always one or one on its way."""

import asyncio

import pytest

from server.domain.errors import EngineLost
from tests.unit.triton.test_triton_supervisor import World, world

__all__ = ["world"]


async def renewed(world: World) -> list[str]:
    told: list[str] = []
    await world.supervisor.renew(lambda: told.append("emptied"), 1)
    return told


async def test_a_renewal_ends_the_run_and_starts_another(world):
    first = world.runs[0]
    assert await renewed(world) == ["emptied"]
    assert first.stops == 1
    assert world.supervisor.current is world.runs[1]
    assert (world.supervisor.renewals, world.supervisor.restarts) == (1, 0)
    assert world.deaths == []
    assert world.waits == [], "a restart on purpose does not wait"


async def test_callers_meanwhile_wait_for_the_new_run(world):
    renewing = asyncio.create_task(renewed(world))
    await asyncio.sleep(0)
    assert world.supervisor.current is None
    assert await world.supervisor.running(1) is world.runs[1]
    await renewing


async def test_the_new_run_is_watched_as_the_old_one(world):
    await renewed(world)
    running = await world.after_death(ran_s=5)
    assert world.deaths == [world.runs[1]]
    assert running is world.runs[2]


async def test_a_new_run_that_does_not_start_is_tried_again(world):
    world.failures = [EngineLost("no port"), EngineLost("no memory")]
    await renewed(world)
    assert world.supervisor.current is world.runs[1]
    assert len(world.waits) == 2


class SlowWorld(World):
    """Waits before restarts last until they are let go on."""

    def __init__(self):
        super().__init__()
        self.goes_on = asyncio.Event()

    async def sleep(self, seconds):
        await super().sleep(seconds)
        await self.goes_on.wait()


async def test_where_a_run_is_on_its_way_it_is_waited_for():
    world = SlowWorld()
    await world.supervisor.start()
    world.runs[0].die()
    await world.supervisor.noticed(world.runs[0], 1)
    renewing = asyncio.create_task(renewed(world))
    await asyncio.sleep(0)
    world.goes_on.set()
    assert await renewing == []
    assert world.supervisor.current is world.runs[1]
    assert world.supervisor.renewals == 0
    await world.supervisor.stop()


async def test_stopping_during_a_renewal_leaves_nothing_behind(world):
    first = world.runs[0]
    is_stopping = asyncio.Event()
    goes_on = asyncio.Event()

    async def slow_stop():
        is_stopping.set()
        await goes_on.wait()
        first.stops += 1

    first.stop = slow_stop
    renewing = asyncio.create_task(renewed(world))
    await is_stopping.wait()
    stopping = asyncio.create_task(world.supervisor.stop())
    await asyncio.sleep(0)
    goes_on.set()
    await stopping
    with pytest.raises(EngineLost):
        await renewing
    assert first.stops == 1
    assert len(world.runs) == 1
