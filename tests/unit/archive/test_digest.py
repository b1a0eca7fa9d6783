import hashlib
import os

import pytest

from server.archive.digest import SMALL_BYTES, RememberedFileDigests, step_digest
from server.archive.layout import read_layout
from server.domain.errors import Bug, InvalidArchive
from tests.unit.archive.writing import chain, onnx_step, python_step, repository, step_config, write_files


def digests(root):
    known = {}
    for model in read_layout(root).models:
        known[model.name] = step_digest(model, known)
    return known


def test_equal_content_has_equal_digests_under_other_names_and_in_other_archives(tmp_path):
    one = digests(repository(tmp_path / "a", encoder=onnx_step()))
    other = digests(repository(tmp_path / "b", other_name=onnx_step(more='name: "third"')))
    assert one["encoder"] == other["other_name"]


def test_renaming_a_callee_changes_only_the_ensemble(tmp_path):
    before = digests(chain(tmp_path / "a"))
    after = digests(chain(tmp_path / "b", names=("uno", "two", "whole")))
    assert (before["one"], before["two"]) == (after["uno"], after["two"])
    assert before["whole"] != after["whole"]


def test_an_ensembles_digest_follows_its_callees(tmp_path):
    before = digests(chain(tmp_path / "a"))
    after = digests(chain(tmp_path / "b", second=b"other"))
    assert before["one"] == after["one"]
    assert before["two"] != after["two"]
    assert before["whole"] != after["whole"]


@pytest.mark.parametrize(
    "change",
    [
        {"1/model.onnx": b"Weights"},
        {"1/model.onnx.data": b"external"},
        {"labels.txt": "cat"},
        {"config.pbtxt": step_config(batch=9)},
        {"2/model.onnx": b"weights"},
        {"1/folder/weights": b"weights"},
    ],
)
def test_what_reaches_the_model_counts(tmp_path, change):
    before = digests(repository(tmp_path / "a", m=onnx_step()))
    after = digests(repository(tmp_path / "b", m=onnx_step() | change))
    assert before["m"] != after["m"]


@pytest.mark.parametrize(
    "change",
    [
        {"1/__pycache__/model.pyc": b"x"},
        {".gitignore": "x"},
        {"1/.DS_Store": "x"},
        {"__MACOSX/1/model.onnx": "x"},
        {"config.pbtxt": "# a comment\n" + step_config()},
    ],
)
def test_what_does_not_reach_the_model_does_not_count(tmp_path, change):
    before = digests(repository(tmp_path / "a", m=onnx_step()))
    after = digests(repository(tmp_path / "b", m=onnx_step() | change))
    assert before["m"] == after["m"]


def test_versions_that_are_not_kept_do_not_count(tmp_path):
    newest = {"config.pbtxt": step_config(), "2/model.onnx": b"new"}
    before = digests(repository(tmp_path / "a", m=newest))
    after = digests(repository(tmp_path / "b", m=newest | {"1/model.onnx": b"old"}))
    assert before["m"] == after["m"]


def test_the_manifest_of_a_flat_archive_does_not_count(tmp_path):
    before = digests(write_files(tmp_path / "a", onnx_step()))
    after = digests(write_files(tmp_path / "b", onnx_step() | {"roundhouse.json": '{"task": "t"}'}))
    assert before["model"] == after["model"]


def test_the_modification_time_does_not_count(tmp_path):
    before = digests(repository(tmp_path, m=onnx_step()))
    os.utime(tmp_path / "m" / "1" / "model.onnx", (1, 1))
    assert digests(tmp_path) == before


def test_callees_come_first(tmp_path):
    entry = read_layout(chain(tmp_path)).models[-1]
    with pytest.raises(Bug, match="one"):
        step_digest(entry, {})


def test_a_link_inside_the_archive_counts_as_the_file(tmp_path):
    plain = digests(repository(tmp_path / "a", m=onnx_step()))
    write_files(tmp_path / "b", {"shared/weights": b"weights", "m/config.pbtxt": step_config(), "m/1/empty": ""})
    (tmp_path / "b/m/1/empty").unlink()
    (tmp_path / "b/m/1/model.onnx").symlink_to("../../shared/weights")
    assert digests(tmp_path / "b") == plain


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../outside", "model.onnx"])
def test_a_link_that_leaves_the_archive_is_refused(tmp_path, target):
    (tmp_path / "outside").write_text("secret")
    repository(tmp_path / "a", m=python_step())
    (tmp_path / "a" / "m" / "1" / "model.onnx").symlink_to(target)
    with pytest.raises(InvalidArchive, match="link"):
        digests(tmp_path / "a")


def test_a_config_that_is_a_link_to_elsewhere_is_refused(tmp_path):
    (tmp_path / "outside").write_text(step_config())
    repository(tmp_path / "a", m=python_step())
    (tmp_path / "a/m/config.pbtxt").unlink()
    (tmp_path / "a/m/config.pbtxt").symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidArchive, match="leaves the archive"):
        digests(tmp_path / "a")


def test_a_pipe_is_refused_and_not_read(tmp_path):
    repository(tmp_path, m=onnx_step())
    os.mkfifo(tmp_path / "m" / "1" / "pipe")
    with pytest.raises(InvalidArchive, match="neither a file nor a folder"):
        digests(tmp_path)


def test_remembered_digests_follow_a_change(tmp_path):
    digest_of = RememberedFileDigests()
    file = tmp_path / "file"
    file.write_bytes(b"one")
    first = digest_of(file)
    assert digest_of(file) == first
    file.unlink()
    file.write_bytes(b"two")
    os.utime(file, (1, 1))
    assert digest_of(file) != first


def test_remembered_digests_stay_bounded(tmp_path):
    digest_of = RememberedFileDigests(limit=2, small_limit=1)
    files = [tmp_path / str(number) for number in range(4)]
    for file in files:
        file.write_text(file.name * (SMALL_BYTES + 1))
    small = [tmp_path / f"small-{number}" for number in range(4)]
    for file in small:
        file.write_text(file.name)
    assert len({digest_of(file) for file in files + small}) == 8
    assert [len(each) for each in digest_of._digests.values()] == [2, 1]


def test_a_large_file_is_remembered_however_many_small_ones_come(tmp_path):
    digest_of = RememberedFileDigests(small_limit=2)
    large = tmp_path / "large"
    large.write_bytes(bytes(SMALL_BYTES + 1))
    digest_of.learn(large, "ab" * 32)
    for number in range(5):
        file = tmp_path / str(number)
        file.write_text("x")
        digest_of.learn(file, "cd" * 32)
    assert digest_of(large) == "ab" * 32
    assert digest_of(tmp_path / "4") == "cd" * 32
    assert digest_of(tmp_path / "0") == hashlib.sha256(b"x").hexdigest()
