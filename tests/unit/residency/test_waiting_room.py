"""Who waits for an archive, who is turned away and what with, and who is told to come back."""

import asyncio

import pytest

from server.domain.errors import DeviceFull, NotReady
from server.residency.planning.terms import ArchiveEntry, GroupEntry, Tariff, Wish
from tests.fakes.source import archive, step

pytestmark = pytest.mark.looptime


class LoopClock:
    """The loop's time, which jumps under looptime."""

    def now(self):
        return asyncio.get_running_loop().time() + 1000.0

    def wall(self):
        return self.now()


def sized(name, size):
    return archive(name, step(f"{name}-model", size))


@pytest.fixture
def slow(yard):
    """Yards in which a load takes 10 s, by the loop's time."""

    def make(budget, *archives, **options):
        it = yard(budget, *archives, clock=LoopClock(), **{"spare_s": 5.0, "churn_guard_s": 1.0, **options})
        it.engine.load_s = 10.0
        return it

    return make


def figures(it):
    return {level.name.removeprefix("roundhouse_"): level.value for level in it.residency.waiting_levels()}


async def use(it, name, timeout_s=60.0, patience_s=0.0, hold_s=0.0):
    with await it.residency.lease(name, timeout_s, patience_s) as lease:
        await asyncio.sleep(hold_s)
        return lease.warmth


async def test_a_crowd_leaves_places_for_others(slow):
    it = slow(100, archive("missing"), archive("other"), max_waiting=100)
    crowd = [asyncio.create_task(use(it, "missing")) for _ in range(1000)]
    await asyncio.sleep(1.0)
    refused = [task.exception() for task in crowd if task.done()]
    assert len(refused) == 950
    assert {type(error) for error in refused} == {NotReady}
    assert all(error.retry_after_s >= 1.0 for error in refused)
    assert (figures(it)["waiting"], figures(it)["wait_refused_full"]) == (50, 950)
    assert await use(it, "other") == "disk"
    await asyncio.gather(*crowd, return_exceptions=True)
    assert figures(it)["waiting"] == 0


async def test_what_cannot_be_in_time_is_refused_at_once_and_loaded_all_the_same(slow):
    it = slow(100, archive("a"))
    await use(it, "a")
    await it.residency.unload("a")
    began = it.clock.now()
    with pytest.raises(NotReady) as refused:
        await it.residency.lease("a", 5.0)
    assert it.clock.now() == began
    assert refused.value.retry_after_s == pytest.approx(10.0)
    await asyncio.sleep(refused.value.retry_after_s)
    assert await use(it, "a", 1.0) == "resident"
    assert figures(it)["wait_refused_ahead"] == 1


async def test_what_was_never_loaded_gets_the_benefit_of_the_doubt(slow):
    it = slow(100, archive("a"))
    with pytest.raises(NotReady):
        await it.residency.lease("a", 5.0)
    assert it.residency.snapshot()["loading"], "it waited, and the load goes on"


async def test_the_queue_before_it_counts(slow):
    it = slow(100, *map(archive, "abcd"), max_parallel_loads=1, wait_margin=1.0)
    for name in "abcd":
        await use(it, name)
        await it.residency.unload(name)
    waiting = [asyncio.create_task(use(it, name)) for name in "abc"]
    await asyncio.sleep(2.0)
    with pytest.raises(NotReady) as refused:
        await it.residency.lease("d", 30.0)
    assert refused.value.retry_after_s == pytest.approx(38.0)
    assert await use(it, "d", 39.0) == "disk"
    await asyncio.gather(*waiting)
    told = figures(it)
    assert told["wait_error_seconds"] / told["wait_actual_seconds"] < 0.01


async def test_the_leases_of_whoever_has_to_leave_count(slow):
    it = slow(10, archive("a"), archive("b"), wait_margin=1.0)
    for name in ("b", "a"):
        await use(it, name, hold_s=100.0)
    held = await it.residency.lease("a", 1.0)
    with pytest.raises(NotReady) as refused:
        await it.residency.lease("b", 20.0)
    assert refused.value.retry_after_s == pytest.approx(30.0)  # a fifth of what the only run so far took, and the load
    held.release()


async def test_orders_push_out_nobody_who_was_just_used(slow):
    it = slow(20, *map(archive, "abc"), wait_margin=1.0)
    for name in "cab":
        await use(it, name)
    await asyncio.sleep(1.0)
    await use(it, "a")
    with pytest.raises(NotReady):
        await it.residency.lease("c", 5.0)
    await asyncio.sleep(1.0)
    assert it.residents() == ["a", "b"]
    assert it.residency.snapshot()["waiting"] == [{"archive": "c", "version": "1", "waiters": 0}]
    await asyncio.sleep(10.0)
    it.residency.expire()  # any event will do
    await asyncio.sleep(10.1)
    assert it.residents() == ["a", "c"]


async def test_a_job_waits_rather_than_evict_what_is_in_use_until_its_patience_ends(slow):
    it = slow(10, archive("urgent"), archive("job"))
    await use(it, "urgent")
    job = asyncio.create_task(use(it, "job", patience_s=20.0))
    for _ in range(19):
        await asyncio.sleep(1.0)
        assert await use(it, "urgent") == "resident"
    await asyncio.sleep(12.0)
    assert await job == "disk"


async def test_a_job_takes_what_urgent_traffic_left_or_only_jobs_used(slow):
    it = slow(10, *map(archive, "abc"))
    await use(it, "a")
    began = it.clock.now()
    assert await use(it, "b", patience_s=60.0) == "disk"
    assert it.clock.now() - began == pytest.approx(15.0)  # five seconds of sparing, and the load
    began = it.clock.now()
    await asyncio.sleep(1.0)
    assert await use(it, "b", patience_s=60.0) == "resident"
    assert await use(it, "c", patience_s=60.0) == "disk"
    assert it.clock.now() - began < 16.1


async def test_a_group_keeps_to_its_quota_and_says_so(slow):
    groups = (GroupEntry("acme", quota_share=0.5),)
    it = slow(
        40, sized("acme/a", 10), sized("acme/b", 20), sized("acme/c", 21), sized("z", 10), tariff=Tariff((), groups)
    )
    for name in ("z", "acme/a", "acme/b"):
        await use(it, name)
    assert it.residents() == ["acme/b", "z"]
    with pytest.raises(DeviceFull, match=r"21 bytes of a budget of 20: that is the quota of group 'acme' there"):
        await use(it, "acme/c")
    assert [each["reason"] for each in it.residency.snapshot()["evictions"]] == ["quota"]


async def test_terms_hold_from_the_settings_and_may_be_said_later(slow):
    tariff = Tariff((ArchiveEntry("kept*", Wish(is_pinned=True)), ArchiveEntry("brief", Wish(time_to_live_s=30.0))))
    it = slow(40, *map(archive, ("kept", "brief", "x", "y")), tariff=tariff)
    for name in ("kept", "brief", "x", "y"):
        await use(it, name)
    it.residency.say("x", Wish(time_to_live_s=50.0))
    await asyncio.sleep(31.0)
    it.residency.expire()
    assert it.residents() == ["kept", "x", "y"]
    await asyncio.sleep(30.0)
    it.residency.expire()
    assert it.residents() == ["kept", "y"]
    shown = {each["archive"]: each for each in it.residency.snapshot()["residents"]}
    assert shown["kept"]["is_pinned"]
    it.residency.unpin("kept")
    shown = {each["archive"]: each for each in it.residency.snapshot()["residents"]}
    assert not shown["kept"]["is_pinned"]
