"""Looks at the memory for as long as the server lives."""

import asyncio

import pytest

from server.lifespan.memory_rounds import memory_rounds


@pytest.mark.looptime
async def test_it_looks_now_and_then_until_its_end():
    looks = []

    async def look():
        looks.append(asyncio.get_running_loop().time())

    rounds = memory_rounds(look)
    rounds.begin()
    await asyncio.sleep(100.0)
    assert looks == [30.0, 60.0, 90.0]
    await rounds.end()
    await asyncio.sleep(100.0)
    await rounds.end()
    assert len(looks) == 3
