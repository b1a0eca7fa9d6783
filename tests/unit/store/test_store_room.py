"""Waiting for room on disk, seen from the store: by real archives, with an origin that does as the test says."""

import asyncio

import pytest

from server.domain.disk_need import DiskOutlook
from server.domain.errors import DiskFull, InvalidArchive, NotReady
from server.domain.model import StepDigest
from server.store.disk.cache import DiskCache
from server.store.disk.protection import HANDED_OUT_AGAIN_S, HANDED_OUT_S, Protection
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.threads import StoreThreads
from tests.fakes.clock import FakeClock
from tests.unit.store.scripted_origin import ScriptedOrigin
from tests.unit.store.store_archives import complete_nothing, packed

BALLAST = 100_000
QUOTA = 180_000
"""Room for one archive, and not for two."""
A, B = StepDigest("a"), StepDigest("b")


class Tenant:
    """Says what the test says, and remembers what it was asked."""

    def __init__(self):
        self.outlook, self.wanted, self.needs = DiskOutlook.MAYBE, True, []
        self.asked = asyncio.Event()

    def is_wanted(self, names):
        return self.wanted

    def make_room(self, need):
        self.needs.append(need)
        self.asked.set()
        return self.outlook


class House:
    def __init__(self, tmp_path):
        self.clock, self.origin, self.tenant = FakeClock(), ScriptedOrigin(), Tenant()
        self.cache = DiskCache(tmp_path / "cache", QUOTA, self.clock)
        threads = StoreThreads(checks=2, transfers=2)
        registered = RegisteredFolders()
        self.store = ArchiveStore(self.origin, registered, self.cache, threads, self.clock, complete_nothing)
        self.store.share_disk_with(self.tenant)

    async def retained(self, name):
        staged = await self.store.stage(name)
        self.store.retain([step.digest for step in staged.steps])
        return staged


@pytest.fixture
async def house(tmp_path):
    house = House(tmp_path)
    await house.store.start()
    for name in ("x", "y", "z"):
        house.origin.put(name, packed(tmp_path / f"{name}.tar.gz", name, BALLAST))
    yield house
    await house.store.close()
    assert house.cache.usage()["reserved_bytes"] == 0
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []


async def test_a_fetch_waits_for_what_is_retained_until_it_is_let_go(house):
    await house.retained("x")
    waiting = asyncio.create_task(house.store.stage("y"))
    await house.tenant.asked.wait()
    assert not waiting.done()
    house.store.retain([])
    assert (await waiting).name == "y"
    assert house.store.claim("x") is None
    (need, *_) = house.tenant.needs
    assert (need.name, need.names) == ("y", ["y"])
    assert need.missing_bytes > 0
    assert sum(size for files in need.files.values() for size in files.values()) > BALLAST


async def test_what_is_kept_for_ever_is_told_at_once_and_leaves_nothing(house):
    house.tenant.outlook = DiskOutlook.NEVER
    await house.retained("x")
    with pytest.raises(DiskFull) as caught:
        await house.store.stage("y")
    assert caught.value.missing_bytes > 0


async def test_whom_nobody_waits_for_gives_the_place_up(house):
    house.tenant.wanted = False
    await house.retained("x")
    with pytest.raises(NotReady):
        await house.store.stage("y")
    assert house.tenant.needs == []


async def test_a_broken_archive_in_the_line_is_told_so_and_blocks_nobody(house, tmp_path):
    await house.retained("x")
    path = packed(tmp_path / "broken.tar.gz", "broken", BALLAST)
    path.write_bytes(path.read_bytes()[:-20] + (QUOTA - 10_000).to_bytes(4, "little"))
    house.origin.put("broken", path)
    with pytest.raises(InvalidArchive):
        await house.store.stage("broken")
    waiting = asyncio.create_task(house.store.stage("y"))
    await house.tenant.asked.wait()
    house.store.retain([])
    assert (await waiting).name == "y"


async def test_what_is_claimed_stays_for_a_while(house):
    await house.retained("x")
    house.store.retain([])
    assert house.store.claim("x") is not None
    house.tenant.wanted = False
    with pytest.raises(NotReady):
        await house.store.stage("y")
    house.clock.advance(HANDED_OUT_S)
    assert (await house.store.stage("y")).name == "y"


def test_who_gives_up_steps_does_so_before_or_after_a_claim_and_never_between():
    clock, forgotten = FakeClock(), []
    protection = Protection(clock)
    assert protection.claim(lambda: [A])
    assert not protection.claim(lambda: None)
    assert not protection.give_up([A, B], lambda: forgotten.append("both"))
    assert protection.give_up([B], lambda: forgotten.append("b"))
    clock.advance(HANDED_OUT_S)
    assert protection.give_up([A], lambda: forgotten.append("a"))
    assert forgotten == ["b", "a"]


def test_steps_that_others_retain_stay_for_a_moment_after_they_were_handed_out():
    clock = FakeClock()
    protection = Protection(clock)
    protection.retain([A])
    protection.hand_out([A])
    protection.retain([])
    assert protection.steps() == {A}
    clock.advance(HANDED_OUT_AGAIN_S)
    assert protection.steps() == frozenset()
