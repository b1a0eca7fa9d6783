"""Delta archives that leave single large files out: wherever these come from, the steps are the same."""

import asyncio
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.archive.delta import make_delta
from server.archive.needs import SMALLEST_BYTES
from server.domain.clock import SystemClock
from server.domain.errors import InvalidArchive
from server.store.disk.cache import DiskCache
from server.store.local import LocalFolder
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.threads import StoreThreads
from tests.unit.archive.needs_writing import BASE
from tests.unit.archive.writing import chain
from tests.unit.store.store_archives import complete_nothing
from tests.unit.store.test_store_borrowing import House, open_house

__all__ = ["open_house"]

SIZES = [SMALLEST_BYTES, SMALLEST_BYTES + 1]


def weights(seed, size=SMALLEST_BYTES):
    return random.Random(seed).randbytes(size)


def tuned(root, graph=b"tuned", table=1):
    chain(root, graph, b"second")
    (root / "one/1/table").write_bytes(weights(table))
    return root


@pytest.fixture
def archives(tmp_path):
    """A base, an archive that was tuned from it, and that one as a delta."""
    base, whole = tuned(tmp_path / "base", b"original"), tuned(tmp_path / "whole")
    make_delta(whole, base, BASE, tmp_path / "delta")
    return base, whole, tmp_path / "delta"


async def test_a_file_comes_from_the_base_and_is_there_once(open_house, archives):
    base, whole, delta = archives
    house = await open_house()
    house.put(BASE, base)
    house.put("delta", delta)
    house.put("whole", whole)
    staged = await house.store.stage("delta")
    assert sorted(house.origin.fetches) == sorted(["delta", BASE])
    assert staged.steps == (await house.store.stage("whole")).steps
    lender = await house.store.stage(BASE)
    assert house.inodes(staged) & house.inodes(lender)
    tables = {path.stat().st_ino for path in house.cache_root.rglob("table")}
    assert len(tables) == 1
    assert list((house.cache_root / "tmp").iterdir()) == []


async def test_a_file_that_lies_on_disk_is_not_asked_for_nor_read_again(open_house, archives):
    base, _, delta = archives
    house = await open_house()
    house.put("elsewhere", base)
    await house.store.stage("elsewhere")
    house.read.clear()
    house.put("delta", delta)  # its base is not in the store at all
    await house.store.stage("delta")
    assert house.origin.fetches == ["elsewhere", "delta"]
    assert "table" not in {path.name for path in house.read}


async def test_without_sharing_the_archive_gets_a_copy_of_its_own(open_house, archives):
    base, whole, delta = archives
    house = await open_house(sharing=False)
    house.put(BASE, base)
    house.put("delta", delta)
    staged = await house.store.stage("delta")
    own = next(step for step in staged.steps if step.name == "one")
    assert (own.directory / "1/table").read_bytes() == (whole / "one/1/table").read_bytes()
    assert list((house.cache_root / "tmp").iterdir()) == []


async def test_a_base_without_the_file_is_refused_and_named(open_house, archives, tmp_path):
    _, _, delta = archives
    house = await open_house()
    house.put("delta", delta)
    with pytest.raises(InvalidArchive, match=rf"needs the step 'two' of '{BASE}', which is not in the store"):
        await house.store.stage("delta")
    house.put(BASE, tuned(tmp_path / "other", b"original", table=2))
    with pytest.raises(InvalidArchive, match=r"needs the file one/1/table with the SHA-256 [0-9a-f]{64}, but"):
        await house.store.stage("delta")
    assert list((house.cache_root / "tmp").iterdir()) == []


async def test_archives_that_need_each_others_files_do_not_wait_for_ever(open_house, tmp_path):
    house = await open_house()
    one = chain(tmp_path / "one", b"a")
    two = chain(tmp_path / "two", b"b")
    for root in (one, two):
        (root / "one/1/table").write_bytes(weights(1))
    make_delta(one, two, "b", tmp_path / "a-delta")
    make_delta(two, one, "a", tmp_path / "b-delta")
    house.put("a", tmp_path / "a-delta")
    house.put("b", tmp_path / "b-delta")
    found = await asyncio.gather(house.store.stage("a"), house.store.stage("b"), return_exceptions=True)
    assert [type(each) for each in found] == [InvalidArchive] * 2
    assert all("needs itself" in str(each) for each in found)


async def stage_from_folder(root: Path) -> dict[str, str]:
    """Step digests of `delta`, from a store of folders that nobody may change."""
    clock, threads = SystemClock(), StoreThreads(2, 2)
    cache = DiskCache(root / "cache", None, clock)
    origin = LocalFolder(root / "store", threads)
    store = ArchiveStore(origin, RegisteredFolders(), cache, threads, clock, complete_nothing)
    await store.start()
    try:
        staged = await store.stage("delta")
        assert list((root / "cache/tmp").iterdir()) == []
        return {step.name: step.digest for step in staged.steps}
    finally:
        await store.close()


async def test_a_folder_in_the_store_stays_as_it_is(tmp_path, archives):
    base, whole, _ = archives
    base.rename(tmp_path / "base-folder")
    (tmp_path / "store").mkdir()
    (tmp_path / "base-folder").rename(tmp_path / "store/base")
    make_delta(whole, tmp_path / "store/base", "base", tmp_path / "store/delta")
    before = sorted(path.name for path in (tmp_path / "store/delta").rglob("*"))
    assert await stage_from_folder(tmp_path)
    assert sorted(path.name for path in (tmp_path / "store/delta").rglob("*")) == before


@settings(max_examples=6, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SIZES)), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SIZES)), min_size=1, max_size=3),
    st.booleans(),
)
def test_any_split_between_base_and_delta_comes_to_the_same_digests(own, lent, sharing):
    """`own`, `lent`: seeds and sizes of the weight files of the archive and of its base."""

    async def both(folder: Path) -> None:
        house = House(folder, sharing=sharing)
        await house.store.start()
        whole, base = chain(folder / "whole", b"own graph"), chain(folder / "base", b"another")
        for root, files in ((whole, own), (base, [*lent, own[0]])):
            for number, (seed, size) in enumerate(files):
                (root / "one/1" / f"table{number}").write_bytes(weights(seed, size))
        make_delta(whole, base, BASE, folder / "delta")
        house.put(BASE, base)
        house.put("delta", folder / "delta")
        house.put("whole", whole)
        try:
            delta, entire = await house.store.stage("delta"), await house.store.stage("whole")
            if sharing:
                assert delta.steps == entire.steps
            for step, other in zip(delta.steps, entire.steps, strict=True):
                files = {path.relative_to(other.directory): path for path in other.directory.rglob("table*")}
                assert {path.relative_to(step.directory) for path in step.directory.rglob("table*")} == files.keys()
                assert all((step.directory / path).read_bytes() == file.read_bytes() for path, file in files.items())
        finally:
            await house.store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(both(Path(folder)))
