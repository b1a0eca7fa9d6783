"""Loads that are measured have the process to themselves; the others share it, and nobody is overtaken for ever."""

import asyncio

import pytest

from server.engines.load_turns import LoadTurns

pytestmark = pytest.mark.looptime


class Yard:
    """Notes who is inside."""

    def __init__(self):
        self.turns, self.inside, self.history = LoadTurns(), set(), []

    async def work(self, name, *, alone, seconds=1.0):
        async with self.turns.turn(alone=alone):
            assert not (alone and self.inside)
            assert not any(other.isupper() for other in self.inside)
            self.inside.add(name)
            self.history.append(name)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.inside.remove(name)

    def begin(self, name, seconds=1.0):
        """Upper case works alone."""
        return asyncio.create_task(self.work(name, alone=name.isupper(), seconds=seconds))


async def test_those_that_need_no_measurement_work_side_by_side():
    yard, began = Yard(), asyncio.get_running_loop().time()
    await asyncio.gather(*map(yard.begin, "abc"))
    assert asyncio.get_running_loop().time() - began == pytest.approx(1.0)


async def test_a_measured_load_waits_for_the_others_and_holds_up_those_after_it():
    yard, began = Yard(), asyncio.get_running_loop().time()
    await asyncio.gather(*map(yard.begin, "abCdE"))
    assert yard.history == list("abCdE")
    assert asyncio.get_running_loop().time() - began == pytest.approx(4.0)


@pytest.mark.parametrize("leaver", ["C", "b"])
async def test_who_leaves_the_queue_holds_up_nobody(leaver):
    yard = Yard()
    tasks = {name: yard.begin(name) for name in "aCbd"}
    await asyncio.sleep(0.5)
    tasks[leaver].cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert yard.history == [name for name in "aCbd" if name != leaver]
    await asyncio.wait_for(yard.begin("E"), 2)


@pytest.mark.parametrize("name", ["b", "B"])
async def test_a_turn_that_is_given_and_cancelled_at_once_comes_back(name):
    yard = Yard()
    first = yard.begin("A")
    task = yard.begin(name)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()  # which gives the turn on, while the next one is cancelled too
    task.cancel()
    await asyncio.gather(first, task, return_exceptions=True)
    await asyncio.wait_for(yard.begin("C"), 2)
    assert yard.history[-1] == "C"


async def test_a_failing_load_gives_its_turn_back():
    yard = Yard()
    for alone in (True, False):
        with pytest.raises(ValueError, match="broken"):
            async with yard.turns.turn(alone=alone):
                raise ValueError("broken")
    await asyncio.wait_for(yard.begin("A"), 2)
    assert yard.history == ["A"]
