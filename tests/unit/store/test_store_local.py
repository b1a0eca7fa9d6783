"""A folder as an origin: versions follow the content, and nothing outside the root can be reached."""

import os

import pytest

from server.domain.errors import ArchiveNotFound, InvalidArchive, StoreUnavailable
from server.store.local import LocalFolder
from server.store.origin import OriginChanged
from server.store.threads import StoreThreads


@pytest.fixture
async def threads():
    pool = StoreThreads(checks=1, transfers=1)
    yield pool
    await pool.close()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "store"
    (folder / "team").mkdir(parents=True)
    (folder / "minilm.tar.gz").write_bytes(b"tar")
    (folder / "team" / "x.tar.zst").write_bytes(b"zst")
    (folder / "plain" / "encoder" / "1").mkdir(parents=True)
    (folder / "plain" / "encoder" / "config.pbtxt").write_text("backend: 'x'")
    (folder / "plain" / "encoder" / "1" / "model.onnx").write_bytes(b"onnx")
    (tmp_path / "secret.tar.gz").write_bytes(b"secret")
    return folder


@pytest.fixture
def local(root, threads):
    return LocalFolder(root, threads)


async def test_a_version_stays_until_the_file_changes(local, root):
    before = await local.version("minilm.tar.gz")
    assert await local.version("/minilm.tar.gz") == before
    (root / "new").write_bytes(b"tar")
    (root / "new").rename(root / "minilm.tar.gz")
    assert await local.version("minilm.tar.gz") != before


async def test_a_folder_has_another_version_when_any_file_changes(local, root):
    before = await local.version("plain")
    assert await local.version("plain/") == before
    model = root / "plain" / "encoder" / "1" / "model.onnx"
    os.utime(model, ns=(1, 1))
    touched = await local.version("plain")
    (root / "plain" / "encoder" / "labels.txt").write_text("a")
    assert len({before, touched, await local.version("plain")}) == 3


async def test_a_name_without_suffix_finds_the_tar_file(local, root, tmp_path):
    assert await local.version("minilm") == await local.version("minilm.tar.gz")
    version = await local.version("team/x")
    assert await local.fetch("team/x", version, tmp_path) == root / "team" / "x.tar.zst"
    assert local.fetch_bytes("team/x", version) == 0


async def test_what_changed_since_the_version_was_asked_is_noticed(local, root, tmp_path):
    version = await local.version("minilm")
    os.utime(root / "minilm.tar.gz", ns=(1, 1))
    with pytest.raises(OriginChanged):
        await local.fetch("minilm", version, tmp_path)


@pytest.mark.parametrize("name", ["nothing", "minilm.tar.gz/x", "../secret.tar.gz", "a" * 300])
async def test_unknown_and_escaping_names_are_not_found(local, name):
    with pytest.raises(ArchiveNotFound):
        await local.version(name)


async def test_links_may_stay_inside_but_not_lead_out(local, root, tmp_path):
    (root / "inside.tar.gz").symlink_to(root / "minilm.tar.gz")
    (root / "outside.tar.gz").symlink_to(tmp_path / "secret.tar.gz")
    (root / "outside").symlink_to(tmp_path)
    assert await local.version("inside.tar.gz") == await local.version("minilm.tar.gz")
    for name in ("outside.tar.gz", "outside/secret.tar.gz", "outside"):
        with pytest.raises(ArchiveNotFound):
            await local.version(name)


async def test_links_inside_a_folder_archive_may_not_lead_out(local, root, tmp_path):
    (root / "plain" / "encoder" / "1" / "weights").symlink_to(tmp_path / "secret.tar.gz")
    with pytest.raises(InvalidArchive, match="leads out"):
        await local.version("plain")


async def test_links_to_folders_inside_a_folder_archive_are_refused(local, root):
    (root / "plain" / "loop").symlink_to(root / "plain")
    with pytest.raises(InvalidArchive, match="link to a folder"):
        await local.version("plain")


async def test_a_pipe_is_not_an_archive(local, root):
    os.mkfifo(root / "pipe.tar.gz")
    with pytest.raises(ArchiveNotFound):
        await local.version("pipe.tar.gz")


async def test_names_are_listed(local, root):
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.tar.gz").write_bytes(b"")
    assert await local.names() == ["minilm.tar.gz", "plain", "team/x.tar.zst"]


async def test_a_store_that_is_not_mounted_is_unavailable_and_not_empty(tmp_path, threads):
    local = LocalFolder(tmp_path / "unmounted", threads)
    with pytest.raises(StoreUnavailable):
        await local.version("minilm")
    with pytest.raises(StoreUnavailable):
        await local.names()
    await local.close()
