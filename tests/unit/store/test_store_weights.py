"""Weight files in the disk cache: equal ones are one file, as long as a step has it, however the process ends."""

import hashlib
import os
import shutil
import signal
import sys
from functools import partial

import pytest

from server.archive.staging import stage_folder
from server.archive.unpack import unpack
from server.archive.weights import SMALLEST_BYTES
from server.store.disk import files as disk_files
from server.store.disk.cache import DiskCache
from server.store.disk.protection import HANDED_OUT_S
from tests.fakes.clock import FakeClock
from tests.unit.archive.writing import onnx_step, repository, tar_bytes
from tests.unit.store.store_archives import complete_nothing

WEIGHTS = bytes(range(256)) * (SMALLEST_BYTES // 256)


class Cache:
    def __init__(self, root, quota=None, *, sharing=True):
        self.root, self.clock, self.sharing = root, FakeClock(), sharing
        self.cache = DiskCache(root, quota, self.clock, sharing=sharing)
        self.cache.open()

    def put(self, name, *models, weights=WEIGHTS, is_writable=False, version="1"):
        """Stage and adopt an archive with one step of that name for each model, beside whose graph the weights lie."""
        workspace = self.cache.new_workspace()
        try:
            self.cache.prepare(name, workspace, 0)
            for model in models or (name,):
                files = {**onnx_step(model), "1/weights.bin": weights}
                repository(workspace.fetched, **{model: files})
            (workspace.fetched / "roundhouse.json").write_text(f'{{"entry_model": "{(models or (name,))[-1]}"}}')
            for call in (models or (name,))[:-1]:
                config = workspace.fetched / models[-1] / "config.pbtxt"
                calls = f'parameters {{ key: "CALLS" value {{ string_value: "{call}" }} }}\n'
                config.write_text(config.read_text() + calls)
            if not is_writable:
                disk_files.make_read_only(workspace.fetched)
            staged = stage_folder(
                workspace.fetched,
                name,
                version,
                workspace.steps,
                complete_nothing,
                link=True,
                placed=partial(self.cache.placed, workspace),
                equal_file=self.cache.equal_file,
                sharing=self.sharing,
            )
            return self.cache.adopt(name, staged, workspace)
        finally:
            self.cache.discard(workspace)

    def inodes(self):
        """Of the weight files in the steps."""
        return {path.stat().st_ino for path in (self.root / "steps").rglob("weights.bin")}

    def bytes_on_disk(self):
        files = {path.stat().st_ino: path.stat().st_size for path in (self.root / "steps").rglob("*") if path.is_file()}
        return sum(files.values())

    def used(self):
        return self.cache.usage()["used_bytes"]

    def settle(self):
        self.clock.advance(HANDED_OUT_S)


@pytest.fixture
def make(tmp_path):
    made = []

    def build(quota=None, **options):
        for earlier in made:
            earlier.cache.close()
        made.append(Cache(tmp_path / "cache", quota, **options))
        return made[-1]

    yield build
    for cache in made:
        cache.cache.close()


def test_equal_weights_of_different_steps_are_one_file_that_nobody_may_write(make):
    cache = make()
    one, two = cache.put("x"), cache.put("y")
    assert one.entry != two.entry
    assert len(cache.inodes()) == 1
    assert cache.used() == cache.bytes_on_disk() < 1.1 * len(WEIGHTS)
    (file,) = two.entry_step.weights
    assert file == ("1/weights.bin", hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    assert not (two.entry_step.directory / file.path).stat().st_mode & 0o222


def test_they_are_one_file_within_an_archive_too(make):
    cache = make()
    archive = cache.put("x", "first", "second")
    assert len(archive.steps) == 2
    assert len(cache.inodes()) == 1


def test_the_file_goes_with_the_last_step_that_has_it(make):
    cache = make()
    cache.put("x")
    cache.put("y")
    cache.settle()
    cache.cache.forget("x")
    assert cache.used() == cache.bytes_on_disk() > len(WEIGHTS)
    assert (cache.put("z").entry_step.directory / "1/weights.bin").read_bytes() == WEIGHTS
    assert len(cache.inodes()) == 1
    cache.settle()
    cache.cache.forget("y")
    cache.cache.forget("z")
    assert cache.used() == cache.bytes_on_disk() == 0


def test_the_quota_counts_it_once(make):
    cache = make(quota=int(1.5 * len(WEIGHTS)))
    for name in "xyz":
        cache.put(name)
        cache.settle()
    assert all(cache.cache.get(name) for name in "xyz")
    cache.put("other", weights=WEIGHTS[::-1])
    assert [name for name in "xyz" if cache.cache.get(name)] == []


def test_a_restart_knows_where_it_lies(make):
    make().put("x")
    cache = make()
    cache.put("y")
    assert len(cache.inodes()) == 1
    assert cache.cache.get("x").entry_step.weights == cache.cache.get("y").entry_step.weights


def test_files_that_somebody_may_write_are_not_shared(make):
    cache = make()
    cache.put("x", is_writable=True)
    cache.put("y", is_writable=True)
    assert len(cache.inodes()) == 2


def test_a_damaged_file_is_not_handed_on(make):
    cache = make()
    damaged = cache.put("x").entry_step.directory / "1/weights.bin"
    damaged.chmod(0o644)
    damaged.write_bytes(WEIGHTS[::-1])
    damaged.chmod(0o444)
    sound = cache.put("y").entry_step.directory / "1/weights.bin"
    assert sound.read_bytes() == WEIGHTS
    assert len(cache.inodes()) == 2


def test_small_files_are_not_looked_up(make):
    cache = make()
    assert cache.put("x", weights=WEIGHTS[:-1]).entry_step.weights == ()
    cache.put("y", weights=WEIGHTS[:-1])
    assert len(cache.inodes()) == 2


def test_without_sharing_each_step_has_its_own(make):
    cache = make(sharing=False)
    assert cache.put("x").entry_step.weights == ()
    cache.put("y")
    assert len(cache.inodes()) == 2


def test_unpacked_files_may_be_shared(make, tmp_path):
    archive = tmp_path / "x.tar"
    archive.write_bytes(tar_bytes(("weights.bin", WEIGHTS)))
    with archive.open("rb") as source:
        unpack(source, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked/weights.bin").stat().st_mode & 0o222


# However the process ends

CHANGES = {"os.link", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.utime", "open"}
POINTS = 16


def life(root, die_at):
    """In a process of its own: two archives with one file come, one goes. It ends before that change to the disk."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)
    count = 0

    def watch(event, arguments):
        nonlocal count
        if event in CHANGES and (event != "open" or arguments[1] not in ("r", "rb", None)):
            count += 1
            if count == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        cache = Cache(root)
        sys.addaudithook(watch)
        cache.put("x")
        cache.put("y")
        cache.settle()
        cache.cache.forget("x")
        os._exit(min(count, 255))
    finally:
        os._exit(255)


def test_whenever_it_is_killed_the_next_start_finds_whole_steps_and_right_figures(tmp_path):
    changes = life(tmp_path / "whole", die_at=0)
    assert POINTS < changes < 255
    survivors = set()
    for point in range(1, changes + 1, max(1, changes // POINTS)):
        root = tmp_path / f"died-at-{point}"
        assert life(root, point) == -signal.SIGKILL
        cache = Cache(root)
        survivors.add(tuple(name for name in "xy" if cache.cache.get(name)))
        assert list((root / "tmp").iterdir()) == []
        assert cache.used() == cache.bytes_on_disk()
        for name in ("y", "z"):
            assert (cache.put(name).entry_step.directory / "1/weights.bin").read_bytes() == WEIGHTS
        assert len(cache.inodes()) == 1
        cache.cache.close()
        shutil.rmtree(root)
    assert {(), ("x",), ("x", "y")} <= survivors
