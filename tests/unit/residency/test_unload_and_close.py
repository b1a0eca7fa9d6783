import asyncio

import pytest

from server.domain.errors import NotLoaded, NotReady
from tests.fakes.source import archive, step


async def test_unload_returns_when_the_memory_is_back(yard):
    it = yard(100, archive("a"))
    await it.serve("a")
    await it.residency.unload("a")
    assert it.charged == 0
    assert it.engine.loaded == {}


async def test_unload_waits_for_leases_and_gives_no_new_ones(yard):
    it = yard(100, archive("a"))
    lease = await it.residency.lease("a", 5.0)
    unloading = asyncio.create_task(it.residency.unload("a"))
    await asyncio.sleep(0)
    assert it.residency.try_lease("a") is None
    assert not unloading.done()
    lease.release()
    await unloading
    assert it.charged == 0


async def test_unload_leaves_the_steps_that_others_use(yard):
    encoder = step("encoder", 60)
    it = yard(100, archive("a", encoder, step("head", 1)), archive("b", encoder))
    await it.serve("a")
    await it.serve("b")
    await it.residency.unload("a")
    assert it.charged == 60
    assert it.residency.snapshot()["steps"][0]["shared_by"] == ["b"]


async def test_unload_of_what_is_not_there(yard):
    it = yard(100, archive("a"))
    with pytest.raises(NotLoaded):
        await it.residency.unload("a")


async def test_unload_refuses_those_who_wait(yard):
    it = yard(100, archive("a"))
    it.engine.loads_open.clear()
    waiting = asyncio.create_task(it.residency.lease("a", 5.0))
    while not it.engine.loading:
        await asyncio.sleep(0)
    unloading = asyncio.create_task(it.residency.unload("a"))
    with pytest.raises(NotLoaded):
        await waiting
    it.engine.loads_open.set()
    await unloading
    assert it.engine.history == [("load", "a-model"), ("unload", "a-model")]


async def test_preload_keeps_and_raises(yard):
    it = yard(100, archive("a"))
    await it.residency.preload("a")
    assert it.residents() == ["a"]
    it.engine.faults[archive("b").entry] = [OSError("disk")]
    it.source.put(archive("b"))
    with pytest.raises(Exception, match="disk"):
        await it.residency.preload("b")


async def test_archives_live_as_long_as_they_are_used(yard):
    it = yard(100, archive("a"), archive("b"), archive("c"), time_to_live_s=60.0)
    it.residency.pin("c")
    for name in "abc":
        await it.serve(name)
    it.clock.advance(59.0)
    await it.serve("b")
    it.residency.expire()
    assert it.residents() == ["b", "c"]


@pytest.mark.looptime
async def test_close_waits_for_leases_then_takes_them(yard):
    it = yard(100, archive("a"), archive("b"), close_timeout_s=10.0)
    patient = await it.residency.lease("a", 5.0)
    await it.residency.lease("b", 5.0)  # never released
    closing = asyncio.create_task(it.residency.close())
    await asyncio.sleep(5.0)
    patient.release()
    assert not closing.done()
    with pytest.raises(NotReady):
        await it.residency.lease("a", 1.0)
    await closing
    assert it.charged == 0


async def test_the_snapshot_is_json(yard):
    import json

    it = yard(20, archive("a"), archive("b"), archive("c"))
    for name in "abc":
        await it.serve(name)
    shown = json.loads(json.dumps(it.residency.snapshot()))
    assert shown["eviction_order"] == ["b", "c"]
    assert shown["evictions"][0]["archive"] == "a"
