import gzip
import os
import tarfile

import pytest

from server.archive.pack import SUFFIXES, pack
from server.archive.unpack import unpack
from server.domain.errors import InvalidArchive
from tests.unit.archive.writing import chain, contents, limited_file_size, write_files


def round_trip(archive, into):
    with archive.open("rb") as file:
        unpack(file, into)
    return contents(into)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_packed_is_unpacked(tmp_path, suffix):
    source = chain(tmp_path / "source")
    (source / "whole" / "1").mkdir()
    pack(source, tmp_path / f"a{suffix}")
    assert round_trip(tmp_path / f"a{suffix}", tmp_path / "into") == contents(source)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_files_give_the_same_bytes(tmp_path, suffix):
    one = write_files(tmp_path / "one", {"b/x": "1", "a/y": "2", "größe": "3"})
    other = write_files(tmp_path / "other", {"größe": "3", "a/y": "2", "b/x": "1"})
    os.utime(other / "a" / "y", (1, 1))
    (other / "b" / "x").chmod(0o700)
    pack(one, tmp_path / f"first{suffix}")
    pack(other, tmp_path / f"second{suffix}")
    assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()


def test_members_are_sorted_folder_by_folder(tmp_path):
    files = dict.fromkeys(["b/z", "b/a", "a", "c", "b.txt", "B"], "x")
    pack(write_files(tmp_path / "source", files), tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == ["B", "a", "b", "b/a", "b/z", "b.txt", "c"]


def test_hidden_files_and_compiled_python_stay_behind(tmp_path):
    junk = {".git/x": "", "__MACOSX/x": "", "m/__pycache__/x.pyc": "", "m/.DS_Store": "", "m/a.pyc": "", "m/model": "x"}
    pack(write_files(tmp_path / "source", junk), tmp_path / "a.tar")
    assert round_trip(tmp_path / "a.tar", tmp_path / "into") == {"m": None, "m/model": b"x"}


def test_a_link_to_a_file_is_packed_as_the_file(tmp_path):
    source = write_files(tmp_path / "source", {"a": "x"})
    (source / "b").symlink_to("a")
    pack(source, tmp_path / "a.tar")
    assert round_trip(tmp_path / "a.tar", tmp_path / "into") == {"a": b"x", "b": b"x"}


def test_a_pipe_is_refused(tmp_path):
    source = write_files(tmp_path / "source", {"a": "x"})
    os.mkfifo(source / "odd")
    with pytest.raises(InvalidArchive, match="odd"):
        pack(source, tmp_path / "a.tar")


@pytest.mark.parametrize("target", ["/etc", "nowhere"])
def test_a_link_to_anything_but_a_file_is_refused(tmp_path, target):
    source = write_files(tmp_path / "source", {"a": "x"})
    (source / "odd").symlink_to(target)
    with pytest.raises(InvalidArchive, match="odd"):
        pack(source, tmp_path / "a.tar")


def test_a_failure_leaves_the_old_archive_and_nothing_else(tmp_path):
    source = write_files(tmp_path / "source", {"a": os.urandom(5000)})
    (tmp_path / "a.tar").write_text("old")
    with pytest.raises(OSError, match="large"), limited_file_size(1000):
        pack(source, tmp_path / "a.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "source"]
    assert (tmp_path / "a.tar").read_text() == "old"


def test_the_archive_may_lie_in_the_folder_that_is_packed(tmp_path):
    write_files(tmp_path, {"a": "x"})
    pack(tmp_path, tmp_path / "a.tar.gz")
    first = (tmp_path / "a.tar.gz").read_bytes()
    pack(tmp_path, tmp_path / "a.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == first


def test_the_gzip_header_has_neither_time_nor_name(tmp_path):
    pack(write_files(tmp_path / "source", {"a": "x"}), tmp_path / "a.tgz")
    data = (tmp_path / "a.tgz").read_bytes()
    assert data[3:8] == bytes(5)
    assert gzip.decompress(data)[:1] == b"a"


@pytest.mark.parametrize(("folder", "name"), [("source", "a.zip"), ("gone", "a.tar")])
def test_an_unknown_suffix_or_a_missing_folder_is_told(tmp_path, folder, name):
    write_files(tmp_path / "source", {"a": "x"})
    with pytest.raises(InvalidArchive):
        pack(tmp_path / folder, tmp_path / name)
