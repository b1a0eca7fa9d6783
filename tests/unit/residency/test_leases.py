import asyncio

import pytest

from server.domain.errors import DeviceFull, NotReady
from server.domain.model import CPU
from tests.fakes.source import archive, step


async def test_the_first_lease_loads_and_the_second_finds_it_resident(yard):
    it = yard(100, archive("a", staged_from="store"))
    assert it.residency.try_lease("a") is None
    assert await it.serve("a") == "store"
    lease = it.residency.try_lease("a")
    assert lease is not None
    with lease:
        assert lease.warmth == "resident"
        assert lease.archive.name == "a"
    assert it.journal.of("miss") == [["a", "store"]]
    assert it.journal.of("hit") == [["a"]]


async def test_steps_are_loaded_callees_first_and_unloaded_callers_first(yard):
    inner = step("inner")
    middle = step("middle", calls=[inner])
    it = yard(100, archive("a", inner, middle, step("outer", calls=[middle, inner])))
    await it.serve("a")
    await it.residency.unload("a")
    order = ["inner", "middle", "outer"]
    assert it.engine.history == [("load", n) for n in order] + [("unload", n) for n in reversed(order)]


async def test_independent_steps_load_side_by_side_up_to_the_limit(yard):
    parts = [step(f"part{n}") for n in range(5)]
    it = yard(100, archive("a", *parts, step("whole", calls=parts)), max_parallel_loads=3)
    await it.serve("a")
    assert it.engine.most_loading == 3


async def test_equal_steps_are_loaded_and_charged_once(yard):
    encoder = step("encoder", 60)
    archives = [archive(f"a{n}", encoder, step(f"head{n}", 1, calls=[encoder])) for n in range(30)]
    it = yard(100, *archives)
    for each in archives:
        await it.serve(each.name)
    assert it.charged == 90
    assert it.engine.history.count(("load", "encoder")) == 1
    assert len(it.residents()) == 30


async def test_an_archive_whose_steps_are_all_loaded_is_shared(yard):
    encoder = step("encoder", 60)
    it = yard(100, archive("a", encoder), archive("b", encoder))
    await it.serve("a")
    assert await it.serve("b") == "shared"


async def test_many_callers_share_one_flight(yard):
    it = yard(100, archive("a"))
    leases = await asyncio.gather(*(it.residency.lease("a", 5.0) for _ in range(20)))
    assert it.engine.history == [("load", "a-model")]
    assert it.source.staged == ["a"]
    assert it.residency.snapshot()["residents"][0]["leases"] == 20
    for lease in leases:
        lease.release()
        lease.release()
    assert it.residency.snapshot()["residents"][0]["leases"] == 0


async def test_the_least_recently_used_archive_leaves_first(yard):
    it = yard(30, *(archive(name) for name in "abcd"))
    for name in "abca":
        await it.serve(name)
    await it.serve("d")
    assert it.residents() == ["a", "c", "d"]
    (eviction,) = it.residency.snapshot()["evictions"]
    assert eviction["archive"] == "b"
    assert eviction["for"] == "d"
    assert [each["archive"] for each in eviction["considered"]] == ["b", "c", "a"]


async def test_a_leased_archive_stays_and_a_pinned_one_too(yard):
    it = yard(30, *(archive(name) for name in "abcd"))
    it.residency.pin("a")
    await it.serve("a")
    with await it.residency.lease("b", 5.0):
        await it.serve("c")
        await it.serve("d")
        assert it.residents() == ["a", "b", "d"]
    it.residency.unpin("a")
    await it.serve("c")
    assert it.residents() == ["b", "c", "d"]


async def test_what_can_never_fit_is_refused_at_once_and_evicts_nothing(yard):
    it = yard(30, archive("a"), archive("giant", step("giant", 31)))
    await it.serve("a")
    with pytest.raises(DeviceFull) as caught:
        await it.residency.lease("giant", 5.0)
    assert (caught.value.needed_bytes, caught.value.budget_bytes) == (31, 30)
    assert it.residents() == ["a"]


async def test_what_cannot_fit_beside_pinned_archives_is_refused(yard):
    it = yard(30, archive("a", step("a", 20)), archive("b", step("b", 20)))
    it.residency.pin("a")
    await it.serve("a")
    with pytest.raises(DeviceFull):
        await it.residency.lease("b", 5.0)
    assert it.residents() == ["a"]


@pytest.mark.looptime
async def test_a_wait_that_is_too_long_ends_with_the_predicted_rest(yard):
    it = yard(10_000_000_000, archive("a", step("big", 2_000_000_000)), guessed_bytes_per_s=200e6)
    it.engine.load_s = 60.0
    with pytest.raises(NotReady) as caught:
        await it.residency.lease("a", 4.0)
    assert caught.value.retry_after_s == 10.0
    await asyncio.sleep(60.0)  # the load went on
    assert await it.serve("a") == "resident"


@pytest.mark.looptime
async def test_a_hot_archive_that_is_never_idle_does_not_starve_a_waiter(yard):
    it = yard(10, archive("hot"), archive("other"))
    stop = asyncio.Event()

    async def caller(delay_s):
        await asyncio.sleep(delay_s)
        while not stop.is_set():
            with await it.residency.lease("hot", 1000.0):
                await asyncio.sleep(1.0)

    callers = [asyncio.create_task(caller(n * 0.3)) for n in range(4)]
    await asyncio.sleep(10.0)
    assert await it.serve("other", timeout_s=5.0) == "disk"
    stop.set()
    await asyncio.gather(*callers)


@pytest.mark.looptime
async def test_a_draining_archive_is_available_again_when_the_waiter_gives_up(yard):
    it = yard(10, archive("hot"), archive("other"))
    hot = await it.residency.lease("hot", 5.0)
    waiting = asyncio.create_task(it.residency.lease("other", 5.0))
    await asyncio.sleep(1.0)
    assert it.residency.try_lease("hot") is None
    queued = asyncio.create_task(it.residency.lease("hot", 60.0))
    with pytest.raises(NotReady):
        await waiting
    assert (await queued).warmth == "resident"
    second = it.residency.try_lease("hot")
    assert second is not None
    for lease in (hot, queued.result(), second):
        lease.release()
    assert it.engine.history == [("load", "hot-model")]


@pytest.mark.looptime
async def test_a_cancelled_caller_leaves_and_the_load_goes_on(yard):
    it = yard(10, archive("a"))
    it.engine.load_s = 3.0
    caller = asyncio.create_task(it.residency.lease("a", 60.0))
    await asyncio.sleep(1.0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(5.0)
    (resident,) = it.residency.snapshot()["residents"]
    assert resident["leases"] == 0


async def test_a_caller_cancelled_in_the_moment_of_the_grant_leaves_no_lease(yard):
    it = yard(10, archive("a"))
    it.engine.loads_open.clear()
    caller = asyncio.create_task(it.residency.lease("a", 60.0))
    while not it.engine.loading:
        await asyncio.sleep(0)
    it.engine.loads_open.set()
    while not it.residents():
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert it.residency.snapshot()["residents"][0]["leases"] == 0


async def test_the_files_of_what_waits_for_room_are_retained_too(yard):
    it = yard(10, archive("a"), archive("b"))
    with await it.residency.lease("a", 5.0):
        waiting = asyncio.create_task(it.serve("b"))
        while not it.residency.snapshot()["waiting"]:
            await asyncio.sleep(0)
        assert it.source.retained == {archive("a").entry, archive("b").entry}
    await waiting
    assert it.source.retained >= {archive("b").entry}


async def test_memory_stays_charged_until_the_unload_has_finished(yard):
    it = yard(10, archive("a"), archive("b"))
    await it.serve("a")
    it.engine.unloads_open.clear()
    waiting = asyncio.create_task(it.serve("b"))
    while ("unload", "a-model") not in it.engine.history:
        await asyncio.sleep(0)
    assert it.charged == 10
    assert it.engine.loading == set()
    it.engine.unloads_open.set()
    assert await waiting == "disk"


async def test_the_light_listing_says_what_the_snapshot_says(yard):
    it = yard(25, archive("a"), archive("b"), archive("c"))
    for name in "abcab":
        await it.serve(name)
        assert sorted(it.residency.resident_names()) == sorted(it.residents())
    lease = await it.residency.lease("c", 5.0)
    assert "c" in it.residency.resident_names()
    lease.release()


async def test_the_snapshot_tells_what_is_on_its_way_and_what_loads_hold_in_passing(yard):
    it = yard(100, archive("a"), archive("b"))
    await it.serve("a")
    it.engine.passing = {CPU: 7}
    it.engine.loads_open.clear()
    waiting = asyncio.create_task(it.residency.lease("b", 5.0))
    for _ in range(10):
        await asyncio.sleep(0)
    device = it.residency.snapshot()["devices"][CPU]
    assert (device["charged_bytes"], device["in_transit_bytes"], device["loading_bytes"]) == (20, 10, 7)
    it.engine.loads_open.set()
    (await waiting).release()
    assert it.residency.snapshot()["devices"][CPU]["in_transit_bytes"] == 0
