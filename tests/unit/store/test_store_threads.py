"""Blocking work: cancelled callers of transfers leave after the thread, callers of checks at once."""

import asyncio
import threading

import pytest

from server.domain.errors import StoreUnavailable
from server.store.threads import StoreThreads


@pytest.fixture
async def threads():
    pool = StoreThreads(checks=1, transfers=1)
    yield pool
    await pool.close()


async def test_results_and_errors_come_back(threads):
    assert await threads.check(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await threads.transfer(int, "x")


async def test_a_cancelled_transfer_is_left_only_when_its_thread_has_ended(threads):
    started, release, ended = threading.Event(), threading.Event(), []

    def work():
        started.set()
        release.wait(10)
        ended.append(True)

    caller = asyncio.create_task(threads.transfer(work))
    await asyncio.to_thread(started.wait, 10)
    caller.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    caller.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not caller.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended == [True]


async def test_a_cancelled_check_is_left_at_once(threads):
    started, release = threading.Event(), threading.Event()

    def work():
        started.set()
        release.wait(10)

    caller = asyncio.create_task(threads.check(work))
    await asyncio.to_thread(started.wait, 10)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not release.is_set()
    release.set()


async def test_a_check_that_never_ends_does_not_hold_the_end_up():
    threads = StoreThreads(1, 1, check_patience_s=0.01)
    release = threading.Event()
    caller = asyncio.create_task(threads.check(release.wait, 30))
    await asyncio.sleep(0)
    await threads.close()
    assert not caller.done()
    release.set()
    assert await caller is True


async def test_a_closed_pool_says_that_the_server_is_stopping(threads):
    await threads.close()
    with pytest.raises(StoreUnavailable, match="stopping"):
        await threads.check(int, "7")
