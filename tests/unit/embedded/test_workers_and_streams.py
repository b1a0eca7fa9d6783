"""Threads that never queue, and streams that do not run ahead."""

import asyncio
import threading

import pytest

from server.engines.embedded.running.streaming import Stream
from server.engines.embedded.running.workers import Workers


@pytest.fixture
def workers():
    workers = Workers("test")
    yield workers
    workers.close()


async def test_a_call_gives_what_the_work_returns(workers):
    assert await workers.call(lambda: threading.current_thread().name) == "test-1"


async def test_a_call_raises_what_the_work_raises(workers):
    with pytest.raises(ZeroDivisionError):
        await workers.call(lambda: 1 // 0)


async def test_work_never_waits_for_other_work(workers):
    """Ten pieces of work that only end together would hang in a smaller pool."""
    barrier = threading.Barrier(10)
    places = await asyncio.wait_for(asyncio.gather(*(workers.call(barrier.wait) for _ in range(10))), 10)
    assert sorted(places) == list(range(10))


async def test_idle_threads_are_used_again(workers):
    names = {await workers.call(lambda: threading.current_thread().name) for _ in range(20)}
    assert names == {"test-1"}


async def test_a_cancelled_call_leaves_the_work_running(workers):
    go, ended = threading.Event(), threading.Event()

    def work():
        go.wait(5)
        ended.set()

    call = asyncio.create_task(workers.call(work))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    go.set()
    assert await asyncio.to_thread(ended.wait, 5)


async def test_a_stream_gives_all_items_and_then_ends(workers):
    ended = threading.Event()
    stream = Stream(workers, lambda: iter(range(20)), ended.set)
    assert [item async for item in stream.items()] == list(range(20))
    assert ended.is_set()


async def test_a_stream_raises_after_the_items_that_came(workers):
    def items():
        yield 1
        raise ValueError("broken")

    stream = Stream(workers, items, lambda: None).items()
    assert await anext(stream) == 1
    with pytest.raises(ValueError, match="broken"):
        await anext(stream)


async def test_closing_a_stream_closes_the_iterator(workers):
    closed, ended = threading.Event(), threading.Event()

    def items():
        try:
            number = 0
            while True:
                number += 1
                yield number
        finally:
            closed.set()

    stream = Stream(workers, items, ended.set).items()
    assert await anext(stream) == 1
    await stream.aclose()
    assert await asyncio.to_thread(ended.wait, 5)
    assert closed.is_set()


async def test_a_stream_is_only_a_few_items_ahead_of_its_reader(workers):
    made = []
    full = threading.Event()

    def items():
        for number in range(100):
            made.append(number)
            if number == 4:
                full.set()  # four lie ready, the fifth waits for room
            yield number

    stream = Stream(workers, items, lambda: None).items()
    reading = asyncio.create_task(anext(stream))
    await asyncio.to_thread(full.wait, 5)
    assert await reading == 0
    assert len(made) <= 7
    await stream.aclose()
