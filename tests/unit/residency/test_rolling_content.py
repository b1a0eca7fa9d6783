import asyncio

import pytest

from server.domain.errors import LoadFailed
from tests.fakes.source import archive, step

TOKENIZER = step("tokenizer", 5)


def version(number, size=10):
    encoder = step(f"encoder{number}", size)
    return archive("a", TOKENIZER, encoder, step(f"whole{number}", 0, calls=[TOKENIZER, encoder]), version=str(number))


async def test_new_content_loads_beside_the_old_and_shared_steps_stay(yard):
    it = yard(100, version(1))
    old = await it.residency.lease("a", 5.0)
    it.source.put(version(2))
    new = await it.residency.lease("a", 5.0)
    assert (old.archive.version, new.archive.version) == ("1", "2")
    assert it.charged == 25
    assert [each["leaving_because"] for each in it.residency.snapshot()["leaving"]] == ["replaced by new content"]
    old.release()
    new.release()
    while it.charged != 15:
        await asyncio.sleep(0)
    assert it.engine.history.count(("load", "tokenizer")) == 1


async def test_the_old_content_makes_room_where_both_do_not_fit(yard):
    it = yard(20, version(1))
    await it.serve("a")
    it.source.put(version(2))
    assert await it.serve("a") == "disk"
    assert it.charged == 15
    assert it.residency.snapshot()["residents"][0]["version"] == "2"


async def test_others_leave_before_the_old_content_does(yard):
    it = yard(30, version(1), archive("idle"))
    await it.serve("a")
    await it.serve("idle")
    it.source.put(version(2))
    it.engine.loads_open.clear()
    waiting = asyncio.create_task(it.serve("a"))
    while not it.engine.loading:
        await asyncio.sleep(0)
    assert it.residents() == ["a"]
    it.engine.loads_open.set()
    await waiting


async def test_broken_new_content_leaves_the_old_serving(yard):
    it = yard(100, version(1))
    await it.serve("a")
    it.source.put(version(2))
    it.engine.faults[step("encoder2").digest] = [LoadFailed("bad weights")]
    for _ in range(3):
        with await it.residency.lease("a", 5.0) as lease:
            assert lease.archive.version == "1"
    (failure,) = it.residency.snapshot()["failures"]
    assert (failure["version"], failure["serving_instead"], failure["reason"]) == ("2", "1", "bad weights")
    it.source.put(version(3))
    with await it.residency.lease("a", 5.0) as lease:
        assert lease.archive.version == "3"


@pytest.mark.looptime
async def test_new_content_that_is_late_leaves_the_old_serving(yard):
    it = yard(100, version(1))
    await it.serve("a")
    it.source.put(version(2))
    it.engine.load_s = 30.0
    with await it.residency.lease("a", 2.0) as lease:
        assert lease.archive.version == "1"
    await asyncio.sleep(60.0)
    with await it.residency.lease("a", 2.0) as lease:
        assert lease.archive.version == "2"
