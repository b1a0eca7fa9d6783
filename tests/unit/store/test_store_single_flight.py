"""Shared work: done once, not harmed by callers who leave."""

import asyncio

import pytest

from server.domain.errors import StoreUnavailable
from server.store.single_flight import SingleFlight


class Work:
    def __init__(self):
        self.open = asyncio.Event()
        self.runs = 0

    async def __call__(self):
        self.runs += 1
        await self.open.wait()
        return self.runs


async def _settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_share_one_run_and_the_next_one_runs_again():
    flights, work = SingleFlight(), Work()
    callers = [asyncio.create_task(flights.join(flights.start("k", work))) for _ in range(3)]
    await _settle()
    work.open.set()
    assert await asyncio.gather(*callers) == [1, 1, 1]
    await _settle()
    assert await flights.join(flights.start("k", work)) == 2


async def test_a_cancelled_caller_does_not_harm_the_others():
    flights, work = SingleFlight(), Work()
    leaver = asyncio.create_task(flights.join(flights.start("k", work)))
    stayer = asyncio.create_task(flights.join(flights.start("k", work)))
    await _settle()
    leaver.cancel()
    await _settle()
    work.open.set()
    assert await stayer == 1
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_work_goes_on_when_everybody_has_left():
    flights, work = SingleFlight(), Work()
    leaver = asyncio.create_task(flights.join(flights.start("k", work)))
    await _settle()
    leaver.cancel()
    await _settle()
    flight = flights.get("k")
    assert flight is not None
    work.open.set()
    assert await flight == 1
    await _settle()
    assert flights.get("k") is None


async def test_errors_reach_every_caller_and_are_not_kept():
    flights = SingleFlight()

    async def fail():
        raise StoreUnavailable("down")

    flight = flights.start("k", fail)
    results = await asyncio.gather(flights.join(flight), flights.join(flight), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
    assert flights.get("k") is None


async def test_closing_ends_the_work_and_tells_the_callers():
    flights, work = SingleFlight(), Work()
    caller = asyncio.create_task(flights.join(flights.start("k", work)))
    await _settle()
    await flights.close()
    with pytest.raises(StoreUnavailable, match="stopping"):
        await caller
