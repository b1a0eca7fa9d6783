"""What leaves the devices goes one tier down, and comes back from there; guesses bring archives one tier up."""

import asyncio

import pytest

from server.domain.errors import InvalidArchive
from server.domain.model import CPU
from server.residency.options import ResidencyOptions
from server.residency.residency import Residency
from tests.fakes.clock import FakeClock
from tests.fakes.engine import FakeEngine
from tests.fakes.host import FakeHost
from tests.fakes.source import FakeSource, archive, step


class Yard:
    """A residency with a host tier."""

    def __init__(self, budget, archives, host, **options):
        self.clock, self.engine, self.source, self.host = FakeClock(), FakeEngine(), FakeSource(*archives), host
        settings = ResidencyOptions(close_timeout_s=1.0, retry_pause_s=0.0, **options)
        self.residency = Residency(self.engine, self.source, {CPU: budget}, self.clock, settings, host=host)
        self.raising = self.residency.raising

    async def serve(self, name):
        self.clock.advance(1.0)
        with await self.residency.lease(name, 5.0) as lease:
            return lease.warmth

    async def settled(self):
        """Until nothing is on its way."""
        while not self.raising.is_quiet:
            await asyncio.sleep(0)

    def residents(self):
        return {each["archive"]: each["came_from"] for each in self.residency.snapshot()["residents"]}


@pytest.fixture
async def yard():
    made = []

    def make(budget, *archives, host=None, **options):
        made.append(Yard(budget, archives, host or FakeHost(), **options))
        return made[-1]

    yield make
    for each in made:
        each.engine.loads_open.set()
        await each.residency.close()
        assert each.engine.loaded == {}


async def test_what_was_evicted_comes_back_from_the_host(yard):
    it = yard(10, archive("a"), archive("b"))
    assert [await it.serve(name) for name in ("a", "b", "a")] == ["disk", "disk", "host"]
    assert it.residents() == {"a": "host"}
    assert list(it.host.kept.values()) == ["b-model"]


async def test_one_step_from_the_disk_makes_it_the_disk(yard):
    it = yard(100, archive("a", step("inner"), step("outer")))
    await it.serve("a")
    await it.residency.unload("a")
    del it.host.kept[step("inner").digest]
    assert await it.serve("a") == "disk"


async def test_steps_that_stayed_for_others_do_not_count(yard):
    base = step("base")
    it = yard(100, archive("a", base, step("head-a")), archive("b", base, step("head-b")))
    assert [await it.serve(name) for name in "ab"] == ["disk", "disk"]
    await it.residency.unload("a")
    assert list(it.host.kept.values()) == ["head-a"]
    assert await it.serve("a") == "host"
    assert await it.serve("a") == "resident"


async def test_shared_and_store_keep_their_meaning(yard):
    one = step("one")
    it = yard(100, archive("a", one), archive("b", one), archive("new", one, step("two"), staged_from="store"))
    it.host.keep(one)
    it.host.keep(step("two"))
    assert [await it.serve(name) for name in ("a", "b", "new")] == ["host", "shared", "store"]


async def test_what_left_is_brought_down_only_when_no_load_needs_the_disk(yard):
    it = yard(10, archive("a"), archive("b"))
    await it.serve("a")
    it.engine.loads_open.clear()
    task = asyncio.create_task(it.residency.lease("b", 5.0))
    while not it.engine.loading:
        await asyncio.sleep(0)
    assert it.host.kept == {}
    it.engine.loads_open.set()
    (await task).release()
    assert list(it.host.kept.values()) == ["a-model"]


async def test_what_came_back_before_it_was_brought_down_is_not(yard):
    it = yard(20, archive("a"), archive("b"), archive("c", step("c-model", 20)), churn_guard_s=0.0)
    for name in ("a", "b"):
        await it.serve(name)
    it.engine.loads_open.clear()
    first = asyncio.create_task(it.residency.lease("c", 5.0))
    while not it.engine.loading:
        await asyncio.sleep(0)
    second = asyncio.create_task(it.residency.lease("a", 5.0))
    await asyncio.sleep(0)
    it.engine.loads_open.set()
    (await first).release()
    (await second).release()
    assert it.residents() == {"a": "disk"}
    assert sorted(it.host.kept.values()) == ["b-model", "c-model"]


async def test_nothing_is_kept_when_the_server_ends(yard):
    it = yard(100, archive("a"))
    await it.serve("a")
    await it.residency.close()
    assert it.host.kept == {}


async def test_a_guess_comes_up_one_tier_at_a_time(yard):
    it = yard(100, archive("a", staged_from="store"))
    assert (await it.raising.raise_tier("a")).tier == "disk"
    it.source.put(archive("a"))
    raised = await it.raising.raise_tier("a")
    assert (raised.tier, raised.moved_bytes, list(it.host.kept.values())) == ("host", 10, ["a-model"])
    assert (await it.raising.raise_tier("a")).tier == "device"
    assert not it.raising.is_quiet
    await it.settled()
    assert it.residents() == {"a": "host"}
    assert await it.serve("a") == "resident"


async def test_nobody_leaves_for_a_guess(yard):
    it = yard(25, archive("a"), archive("b"), archive("c"), churn_guard_s=0.0)
    for name in ("c", "a", "b"):
        await it.serve(name)
    assert list(it.host.kept.values()) == ["c-model"]
    assert await it.raising.raise_tier("c") is None
    assert set(it.residents()) == {"a", "b"}


async def test_a_wrong_guess_is_the_first_to_leave_although_it_was_used_before(yard):
    it = yard(20, archive("a"), archive("b"), archive("c"), churn_guard_s=0.0)
    await it.serve("b")
    await it.residency.unload("b")
    await it.serve("a")
    assert (await it.raising.raise_tier("b")) is None, "a margin of a tenth is left free"
    await it.residency.unload("a")
    await it.raising.raise_tier("b")
    await it.settled()
    await it.serve("a")
    await it.serve("c")
    assert set(it.residents()) == {"a", "c"}


async def test_no_guess_is_loaded_while_somebody_waits_or_loads(yard):
    it = yard(100, archive("a"), archive("b"))
    it.host.keep(archive("b").steps[0])
    it.engine.loads_open.clear()
    task = asyncio.create_task(it.residency.lease("a", 5.0))
    while it.raising.is_quiet:
        await asyncio.sleep(0)
    assert not it.raising.is_quiet
    assert await it.raising.raise_tier("b") is None
    it.engine.loads_open.set()
    (await task).release()


async def test_without_a_host_tier_a_guess_goes_from_the_disk_to_the_device(yard):
    it = yard(100, archive("a"))
    without = Residency(it.engine, it.source, {CPU: 100}, it.clock)
    assert (await without.raising.raise_tier("a")).tier == "device"
    while not without.raising.is_quiet:
        await asyncio.sleep(0)
    await without.close()


async def test_what_is_broken_is_not_raised(yard):
    it = yard(100, archive("a"))
    it.source.faults["a"] = InvalidArchive("broken")
    with pytest.raises(InvalidArchive):
        await it.raising.raise_tier("a")
