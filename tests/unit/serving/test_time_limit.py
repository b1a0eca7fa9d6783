"""A limit keeps the promises of asyncio.timeout."""

import asyncio

import pytest

from server.serving.time_limit import TimeLimit

pytestmark = pytest.mark.looptime


async def limited(seconds, work_s):
    with TimeLimit(seconds) as limit:
        await asyncio.sleep(work_s)
    return limit


async def test_what_is_done_in_time_is_not_disturbed():
    limit = await limited(2, 1)
    await asyncio.sleep(5)
    assert not limit.is_over


@pytest.mark.parametrize("seconds", [1, 0, -5])
async def test_what_takes_longer_is_cut_off(seconds):
    began = asyncio.get_running_loop().time()
    limit = TimeLimit(seconds)
    with pytest.raises(TimeoutError), limit:
        await asyncio.sleep(60)
    assert limit.is_over
    assert asyncio.get_running_loop().time() - began == pytest.approx(max(0, seconds))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_another_s_timeout_is_told_apart():
    limit = TimeLimit(60)
    with pytest.raises(TimeoutError), limit:
        raise TimeoutError
    assert not limit.is_over


async def test_a_cancellation_from_elsewhere_stays_one():
    task = asyncio.create_task(limited(60, 50))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_at_once_is_a_cancellation():
    async def work():
        limit = TimeLimit(1)
        with limit:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                task.cancel()  # while it is being cut off
                raise

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


async def fails_when_cut_off():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError as error:
        raise ValueError("mine") from error


async def test_an_error_of_the_work_at_the_last_moment_is_its_own():
    with pytest.raises(ValueError, match="mine"), TimeLimit(1):
        await fails_when_cut_off()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
