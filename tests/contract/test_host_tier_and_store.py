"""The host tier beside the real store: it keeps what was staged, and nothing that left the disk cache."""

import pytest

from server.domain.errors import ArchiveNotFound
from server.store.disk.cache import DiskCache
from server.store.disk.files import measure
from server.store.freshness import StoreOptions
from server.store.host.pages import LockedPages, WarmPages, may_lock
from server.store.host.tier import HostTier
from server.store.local import LocalFolder
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.threads import StoreThreads
from tests.fakes.clock import FakeClock
from tests.unit.store.store_archives import complete_nothing, named, packed

BALLAST = 200_000
QUOTA = 700_000
BUDGET = 1_000_000


class Depot:
    """A store on a folder, its disk cache with a quota for one archive and a half, and a host tier beside it."""

    def __init__(self, tmp_path, pages):
        self.root = tmp_path / "store"
        self.root.mkdir()
        self.new = tmp_path / "new.tar.gz"
        self.clock = FakeClock()
        self.host = HostTier(lambda: BUDGET, pages)
        cache = DiskCache(tmp_path / "cache", QUOTA, self.clock)
        cache.on_discarded(self.host.forget)
        threads = StoreThreads(2, 2)
        origin = LocalFolder(self.root, threads)
        options = StoreOptions(refresh_s=2.0, refresh_ahead_s=0.0)
        self.store = ArchiveStore(origin, RegisteredFolders(), cache, threads, self.clock, complete_nothing, options)

    def publish(self, name, own, ballast_bytes=BALLAST):
        packed(self.new, own, ballast_bytes).rename(self.root / f"{name}.tar.gz")

    async def demoted(self, name):
        """The archive was resident, and left the devices."""
        archive = await self.store.stage(name)
        for step in archive.steps:
            self.host.keep(step)
        self.host.finish()
        self.clock.advance(60)
        return archive

    def kept(self, archive):
        return [step.name for step in archive.steps if self.host.is_kept(step.digest)]


@pytest.fixture(params=[WarmPages, LockedPages], ids=["warm", "locked"])
async def depot(request, tmp_path):
    if request.param is LockedPages and not may_lock(BUDGET):
        pytest.skip("this process may not lock a megabyte")
    depot = Depot(tmp_path, request.param())
    await depot.store.start()
    yield depot
    await depot.store.close()
    depot.host.close()
    assert depot.host.usage()["used_bytes"] == 0


async def test_staged_steps_are_kept_and_equal_ones_once(depot):
    depot.publish("a", "one")
    archive = await depot.demoted("a")
    assert depot.kept(archive) == [step.name for step in archive.steps]
    assert BALLAST < depot.host.usage()["used_bytes"] < 1.1 * BALLAST
    depot.publish("b", "two", ballast_bytes=10)
    other = await depot.demoted("b")
    assert named(other, "tokenizer").digest == named(archive, "tokenizer").digest
    files = {}
    for step in (*archive.steps, *other.steps):
        files |= measure(step.directory).files
    assert depot.host.usage()["used_bytes"] == sum(files.values())


async def test_what_the_disk_cache_throws_out_is_not_kept(depot):
    depot.publish("a", "one", 400_000)
    first = await depot.demoted("a")
    assert "encoder" in depot.kept(first)
    depot.publish("b", "two", 400_000)
    second = await depot.demoted("b")
    assert "encoder" not in depot.kept(first)
    assert "encoder" in depot.kept(second)
    assert not named(first, "encoder").directory.exists()
    assert depot.host.usage()["used_bytes"] < 450_000


async def test_what_was_deleted_in_the_store_is_not_kept(depot):
    depot.publish("a", "one")
    archive = await depot.demoted("a")
    (depot.root / "a.tar.gz").unlink()
    with pytest.raises(ArchiveNotFound):
        await depot.store.stage("a")
    depot.clock.advance(60)  # until then residency might have been about to load it
    depot.publish("b", "two")
    await depot.store.stage("b")
    depot.host.finish()
    assert (depot.kept(archive), depot.host.usage()["used_bytes"]) == ([], 0)
