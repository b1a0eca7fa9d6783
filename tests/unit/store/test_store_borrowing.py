"""Delta archives in a store: where the steps come from that they leave out."""

import asyncio

import pytest

from server.archive.digest import file_digest
from server.archive.pack import pack
from server.archive.weights import SMALLEST_BYTES
from server.domain.errors import InvalidArchive
from server.store.disk.cache import DiskCache
from server.store.freshness import StoreOptions
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.stager import ArchiveTools
from server.store.threads import StoreThreads
from tests.fakes.clock import FakeClock
from tests.unit.archive.needs_writing import BASE, base, digests_of, head, head_on
from tests.unit.store.scripted_origin import ScriptedOrigin
from tests.unit.store.store_archives import complete_nothing

OPTIONS = StoreOptions(refresh_s=2.0, refresh_ahead_s=0.0, retry_s=10.0, stale_limit_s=100.0)


class House:
    def __init__(self, tmp_path, *, sharing=True, cache="cache", quota=None):
        self.clock, self.origin, self.cache_root = FakeClock(), ScriptedOrigin(), tmp_path / cache
        self.store = ArchiveStore(
            self.origin,
            RegisteredFolders(),
            DiskCache(self.cache_root, quota, self.clock, sharing=sharing),
            StoreThreads(checks=2, transfers=2),
            self.clock,
            complete_nothing,
            OPTIONS,
            tools=ArchiveTools(digest_of=self._digest_of),
            sharing=sharing,
        )
        self.read = []
        self.tmp_path = tmp_path

    def _digest_of(self, path):
        if path.stat().st_size >= SMALLEST_BYTES or self.cache_root / "steps" not in path.parents:
            self.read.append(path)
        return file_digest(path)

    def put(self, name, root):
        packed = self.tmp_path / f"{name.replace('/', '-')}.tar.gz"
        pack(root, packed)
        self.origin.put(name, packed)

    def inodes(self, archive):
        return {path.stat().st_ino for step in archive.steps for path in step.directory.rglob("model.onnx")}


@pytest.fixture
async def open_house(tmp_path):
    houses = []

    async def build(**options):
        houses.append(House(tmp_path, **options))
        await houses[-1].store.start()
        return houses[-1]

    yield build
    for house in houses:
        await house.store.close()


@pytest.fixture
def roots(tmp_path):
    lender = base(tmp_path / "b")
    return lender, head_on(lender, tmp_path / "h")


async def test_two_heads_fetch_their_base_once(open_house, roots, tmp_path):
    house, (lender, borrower) = await open_house(), roots
    house.put(BASE, lender)
    house.put("a", borrower)
    house.put("b", head_on(lender, tmp_path / "h2", entry="other"))
    one, two = await asyncio.gather(house.store.stage("a"), house.store.stage("b"))
    assert sorted(house.origin.fetches) == ["a", "b", BASE]
    assert [step.digest for step in one.steps[:2]] == [step.digest for step in two.steps[:2]]
    assert house.inodes(one) == house.inodes(two)
    assert house.store.current(BASE) is not None
    assert list((house.cache_root / "tmp").iterdir()) == []


async def test_a_base_that_lies_on_disk_is_not_asked_for(open_house, roots, tmp_path):
    house, (lender, borrower) = await open_house(), roots
    house.put("whole", lender)
    await house.store.stage("whole")
    house.put("a", borrower)  # its base is not in the store at all: the digests are enough
    staged = await house.store.stage("a")
    assert {step.name for step in staged.steps} == {"one", "two", "head"}
    assert house.origin.fetches == ["whole", "a"]


async def test_borrowed_weights_are_not_read_again(open_house, tmp_path):
    house = await open_house()
    lender = base(tmp_path / "b", first=bytes(SMALLEST_BYTES))
    house.put(BASE, lender)
    house.put("a", head_on(lender, tmp_path / "h"))
    staged = await house.store.stage("a")
    assert len(staged.steps[0].weights) == 1
    assert [path.name for path in house.read].count("model.onnx") == 2, "the base's two, once each"


async def test_a_missing_base_is_said_and_mended_by_putting_it_there(open_house, roots):
    house, (lender, borrower) = await open_house(), roots
    house.put("a", borrower)
    with pytest.raises(InvalidArchive, match=f"'a' needs the step 'one' of '{BASE}', which is not in the store"):
        await house.store.stage("a")
    house.put(BASE, lender)
    assert len((await house.store.stage("a")).steps) == 3
    assert list((house.cache_root / "tmp").iterdir()) == []


async def test_another_base_than_the_one_it_was_built_on_is_refused_with_both_digests(open_house, roots, tmp_path):
    house, (lender, borrower) = await open_house(), roots
    other = base(tmp_path / "other", first=b"another first")
    house.put(BASE, other)
    house.put("a", borrower)
    with pytest.raises(InvalidArchive) as refused:
        await house.store.stage("a")
    assert digests_of(lender)["one"] in str(refused.value)
    assert digests_of(other)["one"] in str(refused.value)


async def test_a_broken_base_is_named(open_house, roots, tmp_path):
    house, (_, borrower) = await open_house(), roots
    broken = tmp_path / "broken.tar.gz"
    house.origin.put(BASE, broken, b"no archive")
    house.put("a", borrower)
    with pytest.raises(InvalidArchive, match=f"of '{BASE}', which cannot be staged: "):
        await house.store.stage("a")


@pytest.mark.parametrize("escape", ["../secret.tar.gz", "bases/../../x", "a\\b"])
async def test_a_base_outside_the_store_is_not_looked_for(open_house, tmp_path, escape):
    house = await open_house()
    house.put("a", head(tmp_path / "h", dict.fromkeys(("one", "two"), ("ab" * 32, escape))))
    with pytest.raises(InvalidArchive, match="which is not in the store"):
        await house.store.stage("a")
    assert house.origin.fetches == ["a"]


async def test_archives_that_need_each_other_do_not_wait_for_ever(open_house, tmp_path):
    house = await open_house()
    for name, other in (("a", "b"), ("b", "a"), ("self", "/self")):
        house.put(name, head(tmp_path / name, dict.fromkeys(("one", "two"), ("ab" * 32, other))))
    found = await asyncio.gather(*(house.store.stage(name) for name in ("a", "b", "self")), return_exceptions=True)
    assert [type(each) for each in found] == [InvalidArchive] * 3
    assert all("needs itself" in str(each) for each in found)


async def test_a_head_is_a_base_for_another_head(open_house, roots, tmp_path):
    house, (lender, borrower) = await open_house(), roots
    house.put(BASE, lender)
    house.put("a", borrower)
    house.put("b", head_on(lender, tmp_path / "h2", archive="a", entry="second"))
    assert len((await house.store.stage("b")).steps) == 3
    assert house.origin.fetches == ["b", "a", BASE]


async def test_a_head_keeps_its_base_steps_when_the_base_archive_goes(open_house, roots):
    house, (lender, borrower) = await open_house(), roots
    house.put(BASE, lender)
    house.put("a", borrower)
    staged = await house.store.stage("a")
    house.origin.delete(BASE)
    house.clock.advance(60.0)
    with pytest.raises(Exception, match="not found"):
        await house.store.stage(BASE)
    again = await house.store.stage("a")
    assert again.key == staged.key
    assert all(step.directory.is_dir() for step in again.steps)


async def test_without_sharing_each_head_fetches_its_base_for_itself(open_house, roots, tmp_path):
    house, (lender, borrower) = await open_house(sharing=False), roots
    house.put(BASE, lender)
    house.put("a", borrower)
    house.put("b", head_on(lender, tmp_path / "h2", entry="other"))
    one, two = await house.store.stage("a"), await house.store.stage("b")
    assert house.origin.fetches == ["a", BASE, "b", BASE]
    assert not {step.digest for step in one.steps} & {step.digest for step in two.steps}
    assert not house.inodes(one) & house.inodes(two)
    assert list((house.cache_root / "tmp").iterdir()) == []


async def test_what_was_staged_with_the_other_setting_is_thrown_away(open_house, roots):
    house, (lender, _) = await open_house(), roots
    house.put("x", lender)
    await house.store.stage("x")
    await house.store.close()
    apart = await open_house(sharing=False)
    apart.origin.adopt(house.origin)
    assert list((apart.cache_root / "steps").iterdir()) == []
    await apart.store.stage("x")
    assert apart.origin.fetches == ["x"]
