"""The disk cache: below its quota, least recently used out first, nothing in use deleted, nothing lost in a restart."""

import json
import os

import pytest

from server.domain.errors import DiskFull, StoreUnavailable
from server.domain.model import StagedArchive, Step
from server.store.disk.cache import DiskCache
from server.store.disk.protection import HANDED_OUT_S
from tests.fakes.clock import FakeClock
from tests.fakes.source import SIGNATURE, digest_of


class Cache:
    """A cache in a folder, and a way to put archives into it."""

    def __init__(self, root, quota=None, free=10**9, most_described=1000):
        self.root, self.clock = root, FakeClock()
        self.cache = DiskCache(root, quota, self.clock, free_bytes=lambda _: free, most_described=most_described)
        self.cache.open()

    def put(self, name, sizes, version="1"):
        """Adopt an archive with one step for each `label: size`."""
        workspace = self.cache.new_workspace()
        try:
            self.cache.prepare(name, workspace, 0)
            steps = [self._step(workspace, label, size) for label, size in sizes.items()]
            staged = StagedArchive(name, version, steps[-1].digest, tuple(steps), staged_from="store")
            return self.cache.adopt(name, staged, workspace)
        finally:
            self.cache.discard(workspace)

    def _step(self, workspace, label, size):
        digest = digest_of(label)
        folder = workspace.steps / digest
        if not folder.exists():
            (folder / "1").mkdir(parents=True)
            (folder / "1" / "model").write_bytes(bytes(size))
        return Step(digest, label, "fake", folder, SIGNATURE, file_bytes=size)

    def settle(self):
        """Let the time pass in which handed-out steps are shielded."""
        self.clock.advance(HANDED_OUT_S)

    def on_disk(self):
        return {path.name for path in (self.root / "steps").iterdir()}

    def has(self, *labels):
        return self.on_disk() == {digest_of(label) for label in labels}


@pytest.fixture
def make(tmp_path):
    made = []

    def build(quota=None, free=10**9, most_described=1000):
        for earlier in made:
            earlier.cache.close()
        made.append(Cache(tmp_path / "cache", quota, free, most_described))
        return made[-1]

    yield build
    for cache in made:
        cache.cache.close()


def test_an_adopted_archive_lies_in_the_cache_and_keeps_its_identity(make):
    cache = make()
    archive = cache.put("x", {"a": 10, "b": 20})
    assert archive.staged_from == "disk"
    assert [step.directory for step in archive.steps] == [cache.root / "steps" / step.digest for step in archive.steps]
    assert all((step.directory / "1" / "model").is_file() for step in archive.steps)
    assert cache.cache.get("x") is archive
    assert cache.cache.hand_out("x") is archive
    assert list((cache.root / "tmp").iterdir()) == []
    assert cache.cache.usage()["used_bytes"] == 30


def test_the_least_recently_used_archive_goes_when_the_quota_is_reached(make):
    cache = make(quota=25)
    for name in "abc":
        cache.settle()
        cache.put(name, {name: 10})
        cache.cache.touch("a")
    assert [cache.cache.get(name) is not None for name in "abc"] == [True, False, True]
    assert cache.has("a", "c")
    assert cache.cache.usage()["used_bytes"] == 20


def test_shared_steps_are_stored_once_and_stay_for_the_other(make):
    cache = make(quota=130)
    cache.put("x", {"shared": 100, "x": 10})
    cache.put("y", {"shared": 100, "y": 10})
    assert cache.cache.usage()["used_bytes"] == 120
    cache.settle()
    cache.put("z", {"z": 15})
    assert cache.cache.get("x") is None
    assert cache.has("shared", "y", "z")


def test_retained_steps_stay_and_what_does_not_fit_beside_them_is_refused_with_figures(make):
    cache = make(quota=25)
    kept = cache.put("x", {"x": 20})
    cache.cache.retain([step.digest for step in kept.steps])
    cache.settle()
    with pytest.raises(DiskFull, match=r"'y' needs 10 bytes.*quota of 25 bytes; 30 bytes are taken"):
        cache.put("y", {"y": 10})
    assert cache.cache.get("x") is kept
    assert cache.has("x")
    cache.cache.retain([])
    cache.put("y", {"y": 10})
    assert cache.has("y")


def test_what_was_just_handed_out_is_not_deleted_before_it_could_be_loaded(make):
    cache = make(quota=15)
    cache.put("x", {"x": 10})
    with pytest.raises(DiskFull):
        cache.put("y", {"y": 10})
    cache.settle()
    cache.put("y", {"y": 10})
    assert cache.has("y")


def test_an_archive_that_is_too_large_even_for_an_empty_cache_evicts_nothing(make):
    cache = make(quota=25)
    cache.put("x", {"x": 20})
    cache.settle()
    with pytest.raises(DiskFull):
        cache.put("y", {"y": 26})
    assert cache.has("x")


def test_a_new_version_replaces_the_old_one_whose_steps_stay_only_while_retained(make):
    cache = make()
    old = cache.put("x", {"shared": 5, "old": 10})
    cache.cache.retain([step.digest for step in old.steps])
    new = cache.put("x", {"shared": 5, "new": 10}, version="2")
    assert cache.cache.get("x") is new
    assert cache.has("shared", "old", "new")
    cache.cache.retain([step.digest for step in new.steps])
    cache.put("other", {"shared": 5})
    assert cache.has("shared", "new")


def test_forgotten_archives_free_what_nobody_else_holds(make):
    cache = make()
    cache.put("x", {"shared": 5, "x": 10})
    cache.put("y", {"shared": 5})
    cache.settle()
    cache.cache.forget("x")
    cache.cache.forget("never heard of")
    assert cache.has("shared")
    assert cache.cache.get("x") is None


def test_reserved_bytes_count_and_go_with_the_workspace(make):
    cache = make(quota=100)
    cache.put("x", {"x": 30})
    cache.settle()
    workspace = cache.cache.new_workspace()
    cache.cache.prepare("big", workspace, 70)
    assert cache.has("x")
    cache.cache.reserve("big", workspace, 71)
    assert cache.has()
    with pytest.raises(DiskFull):
        cache.cache.reserve("big", workspace, 101)
    with pytest.raises(DiskFull):
        cache.put("y", {"y": 30})
    cache.cache.discard(workspace)
    cache.put("y", {"y": 30})
    assert cache.has("y")


def test_without_a_quota_the_disk_itself_is_the_limit(make):
    cache = make(quota=None, free=50)
    cache.put("x", {"x": 30})
    cache.settle()
    workspace = cache.cache.new_workspace()
    cache.cache.prepare("fits", workspace, 50)
    assert cache.has("x")
    cache.cache.reserve("fits after an eviction", workspace, 110)
    assert cache.has()
    with pytest.raises(DiskFull, match="no quota"):
        cache.cache.reserve("never fits", workspace, 10**6)
    cache.cache.discard(workspace)


def test_a_step_that_somebody_changed_is_replaced_by_the_next_staging(make):
    cache = make()
    archive = cache.put("x", {"x": 10})
    model = archive.steps[0].directory / "1" / "model"
    model.write_bytes(b"damaged!")
    cache.put("x", {"x": 10})
    assert model.read_bytes() == bytes(10)


def test_steps_that_were_deleted_by_hand_are_noticed(make):
    cache = make()
    archive = cache.put("x", {"x": 10})
    (archive.steps[0].directory / "1" / "model").unlink()
    (archive.steps[0].directory / "1").rmdir()
    archive.steps[0].directory.rmdir()
    assert cache.cache.hand_out("x") is None
    cache.put("x", {"x": 10})
    assert cache.cache.hand_out("x") is not None


def test_a_restart_finds_everything_again(make):
    before = make().put("x", {"a": 10, "b": 20})
    after = make()
    assert after.cache.get("x") == before
    assert after.cache.usage()["used_bytes"] == 30


def test_a_restart_remembers_the_order_of_last_use(make):
    cache = make()
    for name in "abc":
        cache.put(name, {name: 10})
    cache.cache.touch("a")
    after = make(quota=25)
    assert after.has("c", "a")


def test_a_restart_cleans_up_what_was_unfinished_or_damaged(make, tmp_path):
    cache = make()
    good = cache.put("good", {"good": 1})
    damaged = cache.put("damaged", {"damaged": 1})
    lost = cache.put("lost", {"lost": 1})
    cache.cache.close()
    os.utime(damaged.steps[0].directory / "1" / "model", ns=(1, 1))
    (cache.root / "steps" / lost.steps[0].digest).rename(tmp_path / "elsewhere")
    (cache.root / "tmp" / "fetch-0").mkdir()
    (cache.root / "tmp" / "record").write_text("half")
    (cache.root / "archives" / "nonsense.json").write_text("{")
    (cache.root / "archives" / "misplaced.json").write_text((cache.root / "archives" / "good.json").read_text())
    after = make()
    assert after.cache.get("good") == good
    assert after.has("good")
    assert list((cache.root / "tmp").iterdir()) == []
    assert [path.name for path in (cache.root / "archives").iterdir()] == ["good.json"]


def test_records_hold_no_paths(make):
    cache = make()
    cache.put("team/x.tar.gz", {"a": 1})
    (record,) = (cache.root / "archives").iterdir()
    assert record.name == "team%2Fx.tar.gz.json"
    assert str(cache.root) not in record.read_text()
    assert json.loads(record.read_text())["name"] == "team/x.tar.gz"


def test_a_cache_folder_belongs_to_one_server(make, tmp_path):
    first = make()
    second = DiskCache(tmp_path / "cache", None, FakeClock())
    with pytest.raises(StoreUnavailable, match="another server"):
        second.open()
    first.cache.close()
    second.open()
    second.close()
    assert second.usage()["archives"] == 0


def test_files_are_counted_once_however_many_links_lead_to_them(make, tmp_path):
    cache = make()
    first = cache.put("x", {"x": 1000})
    workspace = cache.cache.new_workspace()
    cache.cache.prepare("y", workspace, 0)
    folder = workspace.steps / digest_of("y")
    folder.mkdir()
    (folder / "model").hardlink_to(first.steps[0].directory / "1" / "model")
    step = Step(digest_of("y"), "y", "fake", folder, SIGNATURE)
    cache.cache.adopt("y", StagedArchive("y", "1", step.digest, (step,)), workspace)
    cache.cache.discard(workspace)
    assert cache.cache.usage()["used_bytes"] == 1000
    assert cache.cache.usage()["steps"] == 2


def test_a_record_that_cannot_be_written_leaves_no_file(make):
    house = make()
    house.put("a", {"x": 10})
    [record] = (house.root / "archives").iterdir()
    record.unlink()
    record.mkdir()  # nothing can be put in its place
    with pytest.raises((OSError, DiskFull, StoreUnavailable)):
        house.put("a", {"x": 10}, version="2")
    assert list((house.root / "tmp").glob("record-*")) == []


def test_archives_used_long_ago_are_read_again_and_are_what_they_were(make):
    cache = make(most_described=5)
    put = {f"x{number}": cache.put(f"x{number}", {"base": 10, f"own{number}": 1}) for number in range(20)}
    at_hand = [name for name in put if cache.cache.get(name) is not None]
    assert "x19" in at_hand
    assert 5 <= len(at_hand) <= 6
    assert cache.cache.usage()["archives"] == 20
    assert cache.cache.claim("x0") is None
    assert cache.cache.hand_out("x0") == put["x0"]
    assert cache.cache.get("x0") == put["x0"]
    assert cache.cache.claim("x0") is cache.cache.get("x0")


def test_archives_whose_steps_are_retained_stay_at_hand(make):
    cache = make(most_described=3)
    first = cache.put("x0", {"base": 10, "own0": 1})
    cache.cache.retain({first.entry})
    for number in range(1, 20):
        cache.put(f"x{number}", {"base": 10, f"own{number}": 1})
    assert cache.cache.get("x0") is first
    assert cache.cache.get("x1") is None


def test_an_archive_that_is_not_at_hand_counts_against_the_quota_and_leaves_in_its_turn(make):
    cache = make(quota=25, most_described=2)
    for number in range(5):
        cache.put(f"x{number}", {f"own{number}": 5})
        cache.settle()
    cache.cache.touch("x0")
    cache.put("new", {"new": 9})
    assert cache.has("own0", "own3", "own4", "new")
    assert cache.cache.hand_out("x1") is None
    assert cache.cache.hand_out("x0") is not None


def test_an_archive_whose_record_is_gone_is_not_handed_out(make):
    cache = make(most_described=1)
    for number in range(4):
        cache.put(f"x{number}", {f"own{number}": 5})
    (record,) = (cache.root / "archives").glob("x0*")
    record.unlink()
    assert cache.cache.hand_out("x0") is None
    assert cache.put("x0", {"own0": 5}) == cache.cache.hand_out("x0")


def test_a_step_that_archives_share_is_one_object_until_the_last_of_them_goes(make):
    cache = make()
    first, second = cache.put("x", {"base": 10, "a": 1}), cache.put("y", {"base": 10, "b": 1})
    assert first.steps[0] is second.steps[0]
    assert first.steps[1].signature is second.steps[1].signature
    cache.cache.forget("x")
    cache.settle()
    assert cache.put("z", {"base": 10, "c": 1}).steps[0] is second.steps[0]
