"""The folder of packed weights: whole entries or none, within its bytes, least recently used first."""

import os

import pytest

from server.engines.embedded.backends.packed_files import GRAPH, WEIGHTS, PackedFiles

SIZE = 1000


def write(graph):
    graph.write_bytes(b"g" * 10)
    (graph.parent / WEIGHTS).write_bytes(b"w" * (SIZE - 10))


def make(files, key, write=write):
    return files.make(key, SIZE, write)


def aged(root, *keys):
    for age, key in enumerate(keys):
        os.utime(root / key, (age, age))


def test_an_entry_is_there_once_it_was_made(tmp_path):
    files = PackedFiles(tmp_path / "packed", 10 * SIZE)
    assert files.find("a") is None
    assert not (tmp_path / "packed").exists()
    graph = make(files, "a")
    assert (graph, graph.name) == (files.find("a"), GRAPH)
    assert (graph.parent / WEIGHTS).stat().st_size == SIZE - 10


def test_what_is_there_is_not_written_again(tmp_path):
    files = PackedFiles(tmp_path, 10 * SIZE)
    graph = make(files, "a")
    assert make(files, "a", write=None) == graph


def test_what_was_used_longest_ago_leaves_for_a_new_one(tmp_path):
    files = PackedFiles(tmp_path, 3 * SIZE)
    for key in "abc":
        make(files, key)
    aged(tmp_path, *"abc")
    files.find("a")
    make(files, "d")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_an_entry_larger_than_all_room_is_not_made(tmp_path):
    assert PackedFiles(tmp_path, SIZE - 1).make("a", SIZE, write) is None
    assert PackedFiles(tmp_path, 1 << 62).make("a", 1 << 61, write) is None  # no disk has four times that
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_write_that_failed(tmp_path):
    def fail(graph):
        write(graph)
        raise OSError("no space")

    files = PackedFiles(tmp_path, 10 * SIZE)
    with pytest.raises(OSError, match="no space"):
        make(files, "a", fail)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_server_that_was_killed_over_it(tmp_path):
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished" / "half").write_bytes(b"h")
    make(PackedFiles(tmp_path, 10 * SIZE), "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_discarded_entry_is_gone(tmp_path):
    files = PackedFiles(tmp_path, 10 * SIZE)
    make(files, "a")
    files.discard("a")
    files.discard("a")
    assert files.find("a") is None
