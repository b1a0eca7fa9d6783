"""No name reaches a file system or a bucket unless it can only mean something inside the store."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.errors import ArchiveNotFound
from server.store.names import canonical, file_name, is_packed, spellings


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("minilm.tar.gz", "minilm.tar.gz"),
        ("team/minilm.tar.gz", "team/minilm.tar.gz"),
        ("/team/minilm.tar.gz", "team/minilm.tar.gz"),
        ("minilm/", "minilm"),
        ("models with spaces/ünï.tar.gz", "models with spaces/ünï.tar.gz"),
        ("..minilm", "..minilm"),
        ("a:b", "a:b"),
    ],
)
def test_a_name_has_one_spelling(sent, expected):
    assert canonical(sent) == expected


@pytest.mark.parametrize(
    "hostile",
    ["", "/", ".", "..", "../x", "a/../b", "a/..", "//x", "a//b", "a/./b", "a\\b", "a\0b", "a\nb", "a\x7f", "\u202ex"],
)
def test_names_that_could_mean_something_else_are_not_found(hostile):
    with pytest.raises(ArchiveNotFound):
        canonical(hostile)


def test_overlong_names_are_not_found():
    with pytest.raises(ArchiveNotFound):
        canonical("x" * 1025)


@given(st.text(st.sampled_from("./\\ab\0\n ~%"), max_size=12))
def test_a_canonical_name_stays_below_its_root(name):
    try:
        found = canonical(name)
    except ArchiveNotFound:
        return
    parts = PurePosixPath("/root", found).parts
    assert parts[:2] == ("/", "root")
    assert len(parts) > 2
    assert not {"..", "."} & set(parts)
    assert canonical(found) == found


def test_a_plain_name_is_also_looked_for_with_suffixes():
    assert spellings("minilm") == ("minilm", "minilm.tar.gz", "minilm.tgz", "minilm.tar.zst", "minilm.tar")
    assert spellings("minilm.tar.gz") == ("minilm.tar.gz",)
    assert is_packed("a/b.tar.zst")
    assert not is_packed("a/b.zip")


@given(st.lists(st.text(min_size=1, max_size=300).filter(lambda s: "\ud800" not in s), unique=True, max_size=20))
def test_file_names_are_distinct_and_harmless(keys):
    keys = [key for key in keys if key.encode(errors="ignore").decode() == key]
    names = [file_name(key) for key in keys]
    assert len(set(names)) == len(keys)
    assert all("/" not in name and not name.startswith(".") and len(name) <= 200 for name in names)
