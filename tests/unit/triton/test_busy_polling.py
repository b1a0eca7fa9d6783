"""When the event loop stays awake for an answer."""

import asyncio

import pytest

from server.engines.triton.wire.busy_polling import LONGEST_S, BusyPolling
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_stays_awake_until_the_answer_is_there(clock):
    polling = BusyPolling(clock.now)
    polling.began()
    await turns()
    assert polling.is_awake
    polling.ended()
    await turns()
    assert not polling.is_awake


async def test_it_gives_up_after_a_while_and_does_not_begin_again_for_such_answers(clock):
    polling = BusyPolling(clock.now)
    polling.began()
    clock.advance(2 * LONGEST_S)
    await turns()
    assert not polling.is_awake
    polling.ended()
    polling.began()
    assert not polling.is_awake


async def test_a_quick_answer_is_stayed_awake_for_again(clock):
    polling = BusyPolling(clock.now)
    for took, expected in ((2 * LONGEST_S, True), (LONGEST_S / 2, False), (0, True)):
        polling.began()
        assert polling.is_awake == expected
        clock.advance(took)
        polling.ended()
        await turns()


async def test_with_two_under_way_nobody_stays_awake(clock):
    polling = BusyPolling(clock.now)
    polling.began()
    polling.began()
    await turns()
    assert not polling.is_awake
    polling.ended()
    await turns()
    assert not polling.is_awake


async def test_what_was_not_alone_says_nothing_of_the_next_one(clock):
    polling = BusyPolling(clock.now)
    polling.began()
    polling.began()
    clock.advance(1)
    polling.ended()
    polling.ended()
    await turns()
    polling.began()
    assert polling.is_awake
    await turns()
    assert polling.is_awake
    polling.ended()
    await turns()
