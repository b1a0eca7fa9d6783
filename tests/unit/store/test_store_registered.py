"""Explicit loads: ids and targets, conflicts, and the folder they must come from."""

import pytest

from server.domain.errors import AlreadyLoaded, ForbiddenPath, InvalidArchive, NotLoaded
from server.store.registered import RegisteredFolders


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "models" / "abc" / "model"
    path.mkdir(parents=True)
    return path


def test_a_load_is_found_by_id_and_by_every_spelling_of_its_target(folder):
    loads = RegisteredFolders()
    added = loads.add("abc", folder, "/team/x.tar.gz")
    assert [loads.find(name) for name in ("abc", "/team/x.tar.gz", "team/x.tar.gz")] == [added] * 3
    assert loads.find("ABC") is None
    assert loads.get("abc") is added
    assert added.name == "/team/x.tar.gz"


def test_ids_and_targets_are_given_once(folder):
    loads = RegisteredFolders()
    loads.add("abc", folder, "x.tar.gz")
    with pytest.raises(AlreadyLoaded):
        loads.add("abc", folder)
    with pytest.raises(AlreadyLoaded):
        loads.add("def", folder, "x.tar.gz")
    assert [load.id for load in loads.list()] == ["abc"]


def test_removal_frees_the_names_and_is_announced(folder):
    loads = RegisteredFolders()
    removed = []
    loads.on_removed(removed.append)
    added = loads.add("abc", folder, "x.tar.gz")
    loads.remove("abc")
    assert removed == [added]
    assert loads.find("x.tar.gz") is None
    with pytest.raises(NotLoaded):
        loads.remove("abc")
    with pytest.raises(NotLoaded):
        loads.get("abc")
    loads.add("abc", folder, "x.tar.gz")
    assert loads.list()[0].target == "x.tar.gz"


def test_folders_outside_the_load_root_are_refused(folder, tmp_path):
    loads = RegisteredFolders(load_root=tmp_path / "models")
    (tmp_path / "models" / "link").symlink_to(tmp_path)
    for outside in (tmp_path, tmp_path / "models" / ".." / "x", tmp_path / "models" / "link"):
        with pytest.raises(ForbiddenPath):
            loads.add("abc", outside)
    assert loads.add("abc", folder).folder == folder


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InvalidArchive):
        RegisteredFolders(load_root=tmp_path).add("abc", tmp_path / "nothing")
