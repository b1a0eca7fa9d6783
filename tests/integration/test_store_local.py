"""The store over a local folder: no copies, changes noticed, nothing left behind, quota kept, restarts cheap."""

import asyncio
import os

import pytest

from server.domain.errors import ArchiveNotFound, DiskFull, InvalidArchive, StoreUnavailable
from server.store.disk.cache import DiskCache
from server.store.freshness import StoreOptions
from server.store.local import LocalFolder
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.threads import StoreThreads
from tests.fakes.clock import FakeClock
from tests.unit.store.store_archives import complete_nothing, named, packed, remove_folder, repository


class House:
    def __init__(self, tmp_path, quota=None):
        self.clock = FakeClock()
        self.root, self.cache_root = tmp_path / "store", tmp_path / "cache"
        self.root.mkdir(exist_ok=True)
        threads = StoreThreads(2, 2)
        self.cache = DiskCache(self.cache_root, quota, self.clock)
        self.store = ArchiveStore(
            LocalFolder(self.root, threads),
            RegisteredFolders(),
            self.cache,
            threads,
            self.clock,
            complete_nothing,
            StoreOptions(refresh_ahead_s=0.0),
        )

    def bytes_on_disk(self):
        files = {path.stat().st_ino: path.stat().st_size for path in self.cache_root.rglob("*") if path.is_file()}
        return sum(files.values())

    def staged_steps(self):
        return {path.name for path in (self.cache_root / "steps").iterdir()}

    async def load_and_unload(self, name):
        """As residency does it: retain what was staged, then retain it no longer."""
        staged = await self.store.stage(name)
        self.store.retain([step.digest for step in staged.steps])
        self.store.retain([])
        return staged


@pytest.fixture
async def open_house(tmp_path):
    houses = []

    async def build(quota=None):
        for earlier in houses:
            await earlier.store.close()
        houses.append(House(tmp_path, quota))
        await houses[-1].store.start()
        return houses[-1]

    yield build
    for house in houses:
        await house.store.close()


async def test_folders_are_linked_and_the_originals_stay_writable(open_house):
    house = await open_house()
    weights = repository(house.root / "x", "one", 100_000) / "encoder" / "1" / "weights.bin"
    mode = weights.stat().st_mode
    staged = await house.store.stage("x")
    assert staged.staged_from == "disk"
    assert (named(staged, "encoder").directory / "1" / "weights.bin").samefile(weights)
    assert weights.stat().st_mode == mode


async def test_tar_files_are_unpacked_into_read_only_files(open_house):
    house = await open_house()
    packed(house.root / "team" / "x.tar.zst", "one")
    staged = await house.store.stage("team/x")
    weights = named(staged, "encoder").directory / "1" / "weights.bin"
    assert weights.read_bytes() == b"one"
    assert weights.stat().st_mode & 0o222 == 0
    assert (house.root / "team" / "x.tar.zst").exists()


async def test_archives_that_share_a_step_store_it_once(open_house):
    house = await open_house()
    for own in ("one", "two", "three"):
        packed(house.root / f"{own}.tar.gz", own)
    staged = [await house.store.stage(own) for own in ("one", "two", "three")]
    assert len({named(each, "tokenizer").directory for each in staged}) == 1
    assert len(house.staged_steps()) == 1 + 3 + 3


async def test_a_file_overwritten_in_place_is_staged_anew_and_the_old_step_is_not_believed(open_house):
    house = await open_house()
    weights = repository(house.root / "x", "one") / "encoder" / "1" / "weights.bin"
    first = await house.store.stage("x")
    house.clock.advance(5)
    with weights.open("r+b") as file:  # the staged step is a link to this file
        file.write(b"two")
    os.utime(weights, ns=(2, 2))
    second = await house.store.stage("x")
    assert second.entry != first.entry
    assert named(second, "encoder").digest != named(first, "encoder").digest
    packed(house.root / "again.tar.gz", "one")
    again = await house.store.stage("again")
    assert named(again, "encoder").digest == named(first, "encoder").digest
    assert (named(again, "encoder").directory / "1" / "weights.bin").read_bytes() == b"one"


async def test_the_quota_holds_while_many_archives_come_and_go(open_house):
    house = await open_house(quota=100_000)
    for number in range(12):
        packed(house.root / f"a{number:02}.tar.gz", f"own {number}", 20_000)
    for number in [0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 10, 11]:
        staged = await house.load_and_unload(f"a{number:02}")
        assert all((step.directory / "config.pbtxt").is_file() for step in staged.steps)
        assert house.cache.usage()["used_bytes"] <= 100_000
        records = sum(path.stat().st_size for path in (house.cache_root / "archives").iterdir())
        assert house.bytes_on_disk() - records <= 100_000
    assert house.cache.get("store:a00") is not None
    assert house.cache.get("store:a01") is None


async def test_an_archive_that_cannot_fit_is_refused_and_the_others_stay(open_house):
    house = await open_house(quota=60_000)
    packed(house.root / "small.tar.gz", "small")
    packed(house.root / "huge.tar.gz", "huge", 200_000)
    await house.load_and_unload("small")
    with pytest.raises(DiskFull, match=r"'huge\.tar\.gz'.*60000 bytes"):
        await house.store.stage("huge.tar.gz")
    assert (await house.store.stage("small")).staged_from == "disk"


async def test_hostile_and_broken_archives_leave_nothing_on_disk(open_house):
    house = await open_house()
    packed(house.root / "whole.tar.gz", "one", 50_000)
    whole = (house.root / "whole.tar.gz").read_bytes()
    (house.root / "whole.tar.gz").unlink()
    (house.root / "truncated.tar.gz").write_bytes(whole[: len(whole) // 2])
    (house.root / "garbage.tar.gz").write_bytes(b"garbage" * 1000)
    (house.root / "empty.tar.gz").write_bytes(b"")
    (house.root / "nothing").mkdir()
    for name in ("truncated", "garbage", "empty", "nothing"):
        with pytest.raises(InvalidArchive):
            await house.store.stage(name)
    assert [list((house.cache_root / part).iterdir()) for part in ("steps", "archives", "tmp")] == [[], [], []]


async def test_names_cannot_escape_from_the_store(open_house, tmp_path):
    house = await open_house()
    packed(tmp_path / "outside.tar.gz", "secret")
    (house.root / "link.tar.gz").symlink_to(tmp_path / "outside.tar.gz")
    for name in ("../outside.tar.gz", "/../outside.tar.gz", str(tmp_path / "outside.tar.gz"), "link.tar.gz", "link"):
        with pytest.raises(ArchiveNotFound):
            await house.store.stage(name)


async def test_a_restart_stages_from_disk_without_unpacking(open_house):
    house = await open_house()
    packed(house.root / "x.tar.gz", "one")
    repository(house.root / "folder", "two")
    before = [await house.store.stage(name) for name in ("x", "folder")]
    inodes = {path.stat().st_ino for path in (house.cache_root / "steps").rglob("weights.bin")}
    house = await open_house()
    after = [await house.store.stage(name) for name in ("x", "folder")]
    assert [each.key for each in after] == [each.key for each in before]
    assert [each.staged_from for each in after] == ["disk", "disk"]
    assert {path.stat().st_ino for path in (house.cache_root / "steps").rglob("weights.bin")} == inodes


async def test_an_unmounted_store_serves_what_is_staged(open_house, tmp_path):
    house = await open_house()
    packed(house.root / "x.tar.gz", "one")
    packed(house.root / "y.tar.gz", "two")
    await house.store.stage("x")
    staged = house.store.current("x")
    house.root.rename(tmp_path / "unmounted")
    house.clock.advance(60)
    assert await house.store.stage("x") is staged
    with pytest.raises(StoreUnavailable, match="mounted"):
        await house.store.stage("y")


async def test_many_clients_and_changing_archives_always_see_whole_content(open_house):
    """Archives are replaced and deleted while others stage them: every answer is one version, complete on disk."""
    house = await open_house()
    for number in range(4):
        packed(house.root / f"a{number}.tar.gz", f"{number}-0", 10_000)

    async def client(seed):
        for turn in range(12):
            staged = await house.store.stage(f"a{(seed + turn) % 4}")
            weights = named(staged, "encoder").directory / "1" / "weights.bin"
            assert weights.read_bytes().startswith(f"{(seed + turn) % 4}-".encode())

    async def deployer():
        for turn in range(1, 6):
            for number in range(4):
                await asyncio.to_thread(packed, house.root / f"a{number}.tar.gz", f"{number}-{turn}", 10_000)

    await asyncio.gather(*(client(seed) for seed in range(6)), deployer())
    assert list((house.cache_root / "tmp").iterdir()) == []
    house.clock.advance(60)
    final = await house.store.stage("a0")
    assert (named(final, "encoder").directory / "1" / "weights.bin").read_bytes().startswith(b"0-5")


async def test_a_deleted_folder_archive_is_not_found(open_house):
    house = await open_house()
    remove_folder_after = repository(house.root / "x", "one")
    await house.store.stage("x")
    remove_folder(remove_folder_after)
    with pytest.raises(ArchiveNotFound):
        await house.store.stage("x")
    house.clock.advance(60)
    packed(house.root / "y.tar.gz", "two")
    await house.store.stage("y")
    assert len(house.staged_steps()) == 3
