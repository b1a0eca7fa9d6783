"""Which archive a request means."""

import pytest

from server.domain.errors import ArchiveNotFound, NotLoaded, WrongTarget
from server.serving.address import AddressBook
from server.store.registered import RegisteredFolders


@pytest.fixture
def book(tmp_path):
    registered = RegisteredFolders(tmp_path)
    for model, target in (("0a1b", "team/x.tar.gz"), ("2c3d", "")):
        (tmp_path / model).mkdir()
        registered.add(model, tmp_path / model, target)
    return AddressBook(registered)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("0a1b", "team/x.tar.gz"),
        ("team/x.tar.gz", "team/x.tar.gz"),
        ("/team/x.tar.gz", "team/x.tar.gz"),
        ("2c3d", "2c3d"),
        ("/of/the/store.tar.gz", "of/the/store.tar.gz"),
        ("of/the/store.tar.gz", "of/the/store.tar.gz"),
    ],
)
def test_every_spelling_leads_to_one_name(book, said, name):
    assert name == book.by_name(said)
    assert name == book.by_target(said)


@pytest.mark.parametrize("said", ["../x", "a//b", "a\\b", "a\0b", ".."])
def test_what_cannot_be_a_name_is_not_found(book, said):
    with pytest.raises(ArchiveNotFound):
        book.by_name(said)


@pytest.mark.parametrize("target", ["", "0a1b", "team/x.tar.gz", "/team/x.tar.gz"])
def test_a_target_that_agrees_with_the_id(book, target):
    assert book.by_id("0a1b", target) == "team/x.tar.gz"


@pytest.mark.parametrize("target", ["2c3d", "elsewhere.tar.gz"])
def test_a_target_that_does_not(book, target):
    with pytest.raises(WrongTarget, match="names"):
        book.by_id("0a1b", target)


def test_a_target_on_an_id_that_is_not_loaded(book):
    """The platform's way to ask for a model that is gone: it has to hear 404."""
    with pytest.raises(NotLoaded):
        book.by_id("ffff", "team/x.tar.gz")


def test_without_a_target_the_default_model_is_meant():
    assert AddressBook(RegisteredFolders(), "m").by_target("") == "m"


def test_without_a_default_model_the_header_is_named(book):
    with pytest.raises(WrongTarget, match="X-Amzn-SageMaker-Target-Model"):
        book.by_target("")


@pytest.mark.parametrize(("version", "is_there"), [("", True), ("1", True), ("2", False)])
def test_every_archive_has_one_version(book, version, is_there):
    if is_there:
        assert book.by_version("m", version) == "m"
    else:
        with pytest.raises(ArchiveNotFound, match="version 2"):
            book.by_version("m", version)
