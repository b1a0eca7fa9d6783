"""The rules of `resolve.py`, with an origin that does as the test says and the real archive layer."""

import asyncio
import errno

import pytest

from server.domain.errors import ArchiveNotFound, DiskFull, InvalidArchive, StoreUnavailable
from server.store.disk.cache import DiskCache
from server.store.freshness import StoreOptions
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.stager import ArchiveTools
from server.store.threads import StoreThreads
from tests.fakes.clock import FakeClock
from tests.unit.store.scripted_origin import ScriptedOrigin
from tests.unit.store.store_archives import complete_nothing, named, packed, repository

OPTIONS = StoreOptions(refresh_s=2.0, refresh_ahead_s=0.0, retry_s=10.0, stale_limit_s=100.0)


class House:
    """A store with everything it needs, all of it replaceable."""

    def __init__(self, tmp_path, quota=None, options=OPTIONS, tools=None):
        self.clock, self.origin = FakeClock(), ScriptedOrigin()
        self.registered = RegisteredFolders()
        self.cache_root = tmp_path / "cache"
        self.store = ArchiveStore(
            self.origin,
            self.registered,
            DiskCache(self.cache_root, quota, self.clock),
            StoreThreads(checks=2, transfers=2),
            self.clock,
            complete_nothing,
            options,
            tools=tools,
        )

    def leftovers(self):
        return list((self.cache_root / "tmp").iterdir())


@pytest.fixture
async def open_house(tmp_path):
    houses = []

    async def build(**parts):
        for earlier in houses:
            await earlier.store.close()
        houses.append(House(tmp_path, **parts))
        await houses[-1].store.start()
        return houses[-1]

    yield build
    for house in houses:
        await house.store.close()


@pytest.fixture
async def house(open_house, tmp_path):
    house = await open_house()
    house.origin.put("x", packed(tmp_path / "x.tar.gz", "one"))
    return house


async def test_the_first_call_says_store_and_later_calls_give_one_stable_object(house):
    assert house.store.current("x") is None
    first = await house.store.stage("x")
    second = house.store.current("x")
    assert (first.staged_from, second.staged_from) == ("store", "disk")
    assert first.key == second.key
    assert await house.store.stage("x") is second
    assert house.store.current("/x/") is second
    assert house.origin.fetches == ["x"]
    assert {step.name for step in second.steps} == {"tokenizer", "encoder", "pipeline"}
    assert house.leftovers() == []


async def test_current_is_none_when_the_verification_is_too_old(house):
    await house.store.stage("x")
    house.clock.advance(1.9)
    assert house.store.current("x") is not None
    house.clock.advance(0.1)
    assert house.store.current("x") is None
    await house.store.stage("x")
    assert house.store.current("x") is not None
    assert house.origin.fetches == ["x"]


async def test_staging_takes_the_time_that_the_clock_says(house):
    house.origin.on_fetch = lambda: house.clock.advance(3.0)
    assert (await house.store.stage("x")).staging_s == 3.0
    assert house.store.current("x").staging_s == 0.0


async def test_archives_in_use_are_verified_in_the_background(open_house, tmp_path):
    house = await open_house(options=StoreOptions(refresh_s=2.0, refresh_ahead_s=1.0))
    house.origin.put("x", packed(tmp_path / "x.tar.gz", "one"))
    await house.store.stage("x")
    house.clock.advance(1.5)
    asked = house.origin.version_calls
    assert house.store.current("x") is not None
    await house.origin.until_asked(asked + 1)
    await house.store.stage("x")
    house.clock.advance(1.5)
    assert house.store.current("x") is not None


async def test_new_content_is_staged_beside_the_old(house, tmp_path):
    old = await house.store.stage("x")
    house.store.retain([step.digest for step in old.steps])
    house.origin.put("x", packed(tmp_path / "x.tar.gz", "two"))
    new = await house.store.stage("x")
    assert new.key != old.key
    assert named(new, "tokenizer").digest == named(old, "tokenizer").digest
    assert named(new, "encoder").digest != named(old, "encoder").digest
    assert all(step.directory.is_dir() for step in house.store.current("x").steps)
    assert (house.cache_root / "steps" / named(old, "encoder").digest).is_dir()


async def test_deleted_archives_are_not_found_and_forgotten(house):
    await house.store.stage("x")
    house.origin.delete("x")
    with pytest.raises(ArchiveNotFound):
        await house.store.stage("x")
    assert house.store.current("x") is None
    assert list((house.cache_root / "archives").iterdir()) == []


async def test_concurrent_callers_share_one_fetch(house):
    results = await asyncio.gather(*(house.store.stage(name) for name in ("x", "/x", "x/", "x")))
    assert len({id(result) for result in results}) == 1
    assert house.origin.fetches == ["x"]


async def test_a_cancelled_caller_does_not_stop_the_fetch(house):
    house.origin.hold()
    leaver = asyncio.create_task(house.store.stage("x"))
    stayer = asyncio.create_task(house.store.stage("x"))
    await house.origin.until_fetching()
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    house.origin.let_go()
    assert (await stayer).name == "x"
    assert house.origin.fetches == ["x"]


async def test_closing_during_a_fetch_tells_the_caller_and_leaves_nothing(house):
    house.origin.hold()
    caller = asyncio.create_task(house.store.stage("x"))
    await house.origin.until_fetching()
    await house.store.close()
    with pytest.raises(StoreUnavailable, match="stopping"):
        await caller
    assert house.leftovers() == []


async def test_broken_content_is_fetched_once_per_version(house, tmp_path):
    whole = await house.store.stage("x")
    (tmp_path / "x.tar.gz").write_bytes((tmp_path / "x.tar.gz").read_bytes()[:-30])
    house.origin.put("x", tmp_path / "x.tar.gz")
    for _ in range(3):
        with pytest.raises(InvalidArchive):
            await house.store.stage("x")
        house.clock.advance(5)
    assert house.store.current("x") is None
    assert house.origin.fetches == ["x", "x"]
    assert house.leftovers() == []
    house.origin.put("x", packed(tmp_path / "x.tar.gz", "three"))
    assert (await house.store.stage("x")).key != whole.key


async def test_while_broken_content_is_fresh_the_origin_is_not_even_asked(house, tmp_path):
    house.origin.put("x", tmp_path / "garbage.tar.gz", b"garbage")
    with pytest.raises(InvalidArchive):
        await house.store.stage("x")
    asked = house.origin.version_calls
    with pytest.raises(InvalidArchive):
        await house.store.stage("x")
    assert house.origin.version_calls == asked


async def test_an_unreachable_origin_means_stale_answers_up_to_a_limit(house):
    await house.store.stage("x")
    staged = house.store.current("x")
    house.origin.fault = StoreUnavailable("down")
    house.clock.advance(50)
    assert await house.store.stage("x") is staged
    assert house.store.current("x") is staged
    house.clock.advance(50)
    with pytest.raises(StoreUnavailable):
        await house.store.stage("x")
    house.origin.fault = None
    assert await house.store.stage("x") is staged


async def test_an_unreachable_origin_is_left_alone_for_a_while(house):
    await house.store.stage("x")
    house.origin.fault = StoreUnavailable("down")
    house.clock.advance(5)
    await house.store.stage("x")
    asked = house.origin.version_calls
    house.clock.advance(9)
    await house.store.stage("x")
    assert house.origin.version_calls == asked
    house.clock.advance(1)
    await house.store.stage("x")
    assert house.origin.version_calls == asked + 1


@pytest.mark.looptime
async def test_a_silent_origin_keeps_nobody_waiting_who_can_be_answered(house):
    await house.store.stage("x")
    house.origin.hold_versions()
    house.clock.advance(5)
    started = asyncio.get_running_loop().time()
    assert await house.store.stage("x") is house.store.current("x")
    assert asyncio.get_running_loop().time() - started == pytest.approx(OPTIONS.patience_s, abs=0.1)


async def test_an_unreachable_origin_is_an_error_where_nothing_is_staged(house):
    house.origin.fault = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable, match="down"):
        await house.store.stage("x")


async def test_content_that_changes_during_the_fetch_is_fetched_again(house, tmp_path):
    replacements = [packed(tmp_path / "y.tar.gz", "two")]
    house.origin.on_fetch = lambda: replacements and house.origin.put("x", replacements.pop())
    staged = await house.store.stage("x")
    assert staged.version == house.origin.versions["x"]
    assert house.origin.fetches == ["x", "x"]


async def test_content_that_never_stops_changing_is_given_up(house, tmp_path):
    house.origin.on_fetch = lambda: house.origin.put("x", tmp_path / "x.tar.gz")
    with pytest.raises(StoreUnavailable, match="changes faster"):
        await house.store.stage("x")
    assert house.leftovers() == []


async def test_a_full_disk_while_unpacking_leaves_nothing_and_is_not_held_against_the_archive(open_house, tmp_path):
    full = [True]

    def unpack(source, into, limits):
        (into / "half").write_bytes(b"half a file")
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        (into / "half").unlink()
        real_tools.unpack(source, into, limits)

    real_tools = ArchiveTools()
    house = await open_house(tools=ArchiveTools(unpack=unpack))
    house.origin.put("x", packed(tmp_path / "x.tar.gz", "one"))
    with pytest.raises(DiskFull):
        await house.store.stage("x")
    assert house.leftovers() == []
    full.clear()
    assert (await house.store.stage("x")).name == "x"


async def test_an_archive_over_the_quota_is_refused_with_figures_and_leaves_nothing(open_house, tmp_path):
    house = await open_house(quota=20_000)
    house.origin.put("x", packed(tmp_path / "x.tar.gz", "one", ballast_bytes=100_000))
    with pytest.raises(DiskFull, match="20000"):
        await house.store.stage("x")
    assert house.leftovers() == []
    assert list((house.cache_root / "steps").iterdir()) == []


async def test_a_truncated_archive_is_invalid_even_when_its_last_bytes_claim_to_be_huge(open_house, tmp_path):
    house = await open_house(quota=50_000)
    path = packed(tmp_path / "x.tar.gz", "one")
    path.write_bytes(path.read_bytes()[:-20] + b"\xff\xff\xff\x7f")
    house.origin.put("x", path)
    with pytest.raises(InvalidArchive):
        await house.store.stage("x")


async def test_a_restart_needs_no_fetch(open_house, tmp_path):
    house = await open_house()
    house.origin.put("x", packed(tmp_path / "x.tar.gz", "one"))
    before = await house.store.stage("x")
    origin = house.origin
    after = await open_house()
    after.origin.adopt(origin)
    assert after.store.current("x") is None
    staged = await after.store.stage("x")
    assert (staged.key, staged.staged_from, staged.steps) == (before.key, "disk", house.store.current("x").steps)
    assert after.origin.fetches == []


@pytest.mark.parametrize("name", ["..", "../x", "", "a\\b", "a\0b"])
async def test_impossible_names_are_not_found_and_the_origin_is_not_asked(house, name):
    assert house.store.current(name) is None
    with pytest.raises(ArchiveNotFound):
        await house.store.stage(name)
    assert house.origin.version_calls == 0


async def test_explicit_loads_win_over_the_origin_by_id_and_by_target(house, tmp_path):
    folder = repository(tmp_path / "models" / "abc" / "model", "explicit")
    house.registered.add("abc", folder, "x")
    by_target = await house.store.stage("x")
    assert by_target.staged_from == "disk"
    assert await house.store.stage("abc") is house.store.current("x")
    assert house.origin.fetches == []
    assert await house.store.names() == ["x"]
    weights = named(by_target, "encoder").directory / "1" / "weights.bin"
    assert weights.samefile(folder / "encoder" / "1" / "weights.bin")


async def test_a_removed_load_frees_its_files_and_the_origin_answers_again(house, tmp_path):
    folder = repository(tmp_path / "models" / "abc" / "model", "explicit")
    house.registered.add("abc", folder, "x")
    loaded = await house.store.stage("x")
    house.store.retain([step.digest for step in loaded.steps])
    house.store.retain([])
    house.registered.remove("abc")
    staged = await house.store.stage("x")
    assert staged.staged_from == "store"
    with pytest.raises(ArchiveNotFound):
        await house.store.stage("abc")
    assert [path.name for path in (house.cache_root / "archives").iterdir()] == ["store%3Ax.json"]
    assert not named(loaded, "encoder").directory.exists()


async def test_without_an_origin_only_explicit_loads_are_found(tmp_path):
    registered = RegisteredFolders()
    clock = FakeClock()
    cache = DiskCache(tmp_path / "cache", None, clock)
    store = ArchiveStore(None, registered, cache, StoreThreads(1, 1), clock, complete_nothing)
    await store.start()
    registered.add("abc", repository(tmp_path / "abc", "one"))
    assert (await store.stage("abc")).name == "abc"
    assert await store.names() == ["abc"]
    with pytest.raises(ArchiveNotFound):
        await store.stage("x")
    await store.close()
