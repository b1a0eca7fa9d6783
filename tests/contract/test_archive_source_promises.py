"""What every `ArchiveSource` promises: the fake that other tests use, and the store over each of its origins."""

import asyncio

import pytest

from server.domain.errors import ArchiveNotFound
from server.store.disk.cache import DiskCache
from server.store.freshness import StoreOptions
from server.store.local import LocalFolder
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.s3.prefix import S3Prefix
from server.store.threads import StoreThreads
from tests.fakes.clock import FakeClock
from tests.fakes.source import FakeSource, archive
from tests.unit.store.s3_bucket import Bucket, s3_server
from tests.unit.store.store_archives import complete_nothing, packed, remove_folder, repository


class FakeDepot:
    """The fake of the other areas' tests."""

    def __init__(self, tmp_path, request):
        self.source = FakeSource()

    async def publish(self, name, own):
        self.source.put(archive(name, version=own))

    async def delete(self, name):
        self.source.delete(name)

    def time_passes(self):
        self.source.verified.clear()

    async def close(self):
        """Nothing is open."""


class StoreDepot:
    """An `ArchiveStore`, and a way to change what its origin holds."""

    def __init__(self, tmp_path, origin, threads, registered=None):
        self.tmp_path, self.clock = tmp_path, FakeClock()
        self.registered = registered or RegisteredFolders()
        cache = DiskCache(tmp_path / "cache", None, self.clock)
        options = StoreOptions(refresh_s=2.0, refresh_ahead_s=0.0)
        self.source = ArchiveStore(origin, self.registered, cache, threads, self.clock, complete_nothing, options)

    def time_passes(self):
        self.clock.advance(60)

    async def close(self):
        await self.source.close()


class TarDepot(StoreDepot):
    def __init__(self, tmp_path, request):
        self.root = tmp_path / "store"
        self.root.mkdir()
        threads = StoreThreads(2, 2)
        super().__init__(tmp_path, LocalFolder(self.root, threads), threads)

    async def publish(self, name, own):
        packed(self.tmp_path / "new.tar.gz", own).rename(self.root / f"{name}.tar.gz")

    async def delete(self, name):
        (self.root / f"{name}.tar.gz").unlink()


class FolderDepot(TarDepot):
    async def publish(self, name, own):
        if (self.root / name).exists():
            await self.delete(name)
        repository(self.tmp_path / "new", own).rename(self.root / name)

    async def delete(self, name):
        remove_folder(self.root / name)


class S3TarDepot(StoreDepot):
    def __init__(self, tmp_path, request):
        self.bucket = Bucket(request.getfixturevalue("endpoint"))
        threads = StoreThreads(2, 2)
        super().__init__(tmp_path, S3Prefix(self.bucket.options, threads), threads)

    async def publish(self, name, own):
        self.bucket.put(f"{name}.tar.gz", packed(self.tmp_path / "new.tar.gz", own).read_bytes())

    async def delete(self, name):
        self.bucket.delete(f"{name}.tar.gz")

    async def close(self):
        await super().close()
        self.bucket.close()


class S3FolderDepot(S3TarDepot):
    async def publish(self, name, own):
        folder = repository(self.tmp_path / "new", own)
        self.bucket.put_folder(name, folder)
        remove_folder(folder)

    async def delete(self, name):
        self.bucket.delete_folder(name)


class RegisteredDepot(StoreDepot):
    def __init__(self, tmp_path, request):
        super().__init__(tmp_path, None, StoreThreads(2, 2))

    async def publish(self, name, own):
        folder = self.tmp_path / "models" / name
        if folder.exists():
            remove_folder(folder)
        repository(folder, own)
        if self.registered.find(name) is None:
            self.registered.add(f"hash-of-{name}", folder, name)

    async def delete(self, name):
        self.registered.remove(f"hash-of-{name}")


DEPOTS = {
    "fake": FakeDepot,
    "local tar": TarDepot,
    "local folder": FolderDepot,
    "s3 tar": S3TarDepot,
    "s3 folder": S3FolderDepot,
    "registered": RegisteredDepot,
}


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as url:
        yield url


@pytest.fixture(params=DEPOTS)
async def depot(request, tmp_path):
    depot = DEPOTS[request.param](tmp_path, request)
    if isinstance(depot.source, ArchiveStore):
        await depot.source.start()
    await depot.publish("x", "one")
    yield depot
    await depot.close()


async def test_what_was_staged_is_current_until_time_passes(depot):
    assert depot.source.current("x") is None
    staged = await depot.source.stage("x")
    assert depot.source.current("x").key == staged.key
    depot.time_passes()
    assert depot.source.current("x") is None


async def test_the_entry_comes_last_and_every_step_after_the_steps_it_calls(depot):
    staged = await depot.source.stage("x")
    digests = [step.digest for step in staged.steps]
    assert staged.entry == digests[-1]
    for index, step in enumerate(staged.steps):
        assert set(step.calls.values()) <= set(digests[:index])


async def test_unchanged_content_is_the_same_object_with_the_same_key(depot):
    first = await depot.source.stage("x")
    depot.time_passes()
    second = await depot.source.stage("x")
    depot.time_passes()
    assert second.key == first.key
    assert await depot.source.stage("x") is second


async def test_changed_content_has_another_key_and_other_steps(depot):
    before = await depot.source.stage("x")
    await depot.publish("x", "something else")
    depot.time_passes()
    after = await depot.source.stage("x")
    assert after.key != before.key
    assert after.entry != before.entry


async def test_unknown_and_deleted_archives_are_not_found(depot):
    with pytest.raises(ArchiveNotFound):
        await depot.source.stage("unknown")
    assert depot.source.current("unknown") is None
    await depot.source.stage("x")
    await depot.delete("x")
    depot.time_passes()
    with pytest.raises(ArchiveNotFound):
        await depot.source.stage("x")
    assert depot.source.current("x") is None


async def test_names_are_sorted(depot):
    await depot.publish("a", "another")
    names = await depot.source.names()
    assert [name.removesuffix(".tar.gz") for name in names] == ["a", "x"]


async def test_concurrent_callers_get_one_content(depot):
    staged = await asyncio.gather(*(depot.source.stage("x") for _ in range(4)))
    assert len({each.key for each in staged}) == 1


async def test_retained_steps_stay_on_disk_when_their_content_is_gone(depot):
    old = await depot.source.stage("x")
    depot.source.retain([step.digest for step in old.steps])
    await depot.publish("x", "something else")
    depot.time_passes()
    await depot.source.stage("x")
    if not isinstance(depot, FakeDepot):  # the fake has no files
        assert all((step.directory / "config.pbtxt").is_file() for step in old.steps)
    depot.source.retain([])
    assert (await depot.source.stage("x")).entry != old.entry
