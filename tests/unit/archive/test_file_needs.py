"""Archives that leave single large files out: the manifest, and what can be told without the base."""

import json

import pytest
from click.testing import CliRunner

from server.archive.delta import make_delta
from server.archive.filling import fill_in, twin_of
from server.archive.inspection import inspect
from server.archive.layout import read_layout, read_needs
from server.archive.lint import lint
from server.archive.manifest import Manifest, parse_manifest, read_manifest, render_manifest
from server.archive.needs import SMALLEST_BYTES, FileNeed, Need
from server.commands.archive import archive
from server.domain.errors import InvalidArchive
from tests.unit.archive.needs_writing import digests_of
from tests.unit.archive.writing import chain, onnx_step, repository

BASE = "bases/base.tar.gz"
SHA = "ab" * 32
SIZE = SMALLEST_BYTES
FACTS = {"sha256": SHA, "size": SIZE, "from": BASE}


def tuned(root, graph=b"tuned", table=b"t"):
    """Two steps and an ensemble; the first one's weights lie in a file beside its graph."""
    chain(root, graph, b"second")
    (root / "one" / "1" / "table").write_bytes(table * SIZE)
    return root


@pytest.fixture
def pair(tmp_path):
    return tuned(tmp_path / "base", b"original"), tuned(tmp_path / "whole")


def test_a_manifest_with_files_is_read_as_it_was_written():
    need = {"one": {"1/table": FileNeed(SHA, SIZE, BASE), "1/deep/x": FileNeed(SHA, SIZE + 1, "b")}}
    for steps in ({}, {"two": Need(SHA, BASE)}):
        manifest = Manifest(entry_model="e", needs=steps, file_needs=need)
        assert parse_manifest(render_manifest(manifest)) == manifest


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "needs.files must be an object"),
        ({"one": []}, "needs.files.one must be an object by path"),
        ({"../one": {"1/table": FACTS}}, "needs.files.../one must be an object by path"),
        *(
            ({"one": {path: FACTS}}, f"needs.files.one.{path}: not a path below the model")
            for path in ("../x", "/etc/passwd", "1/../../x", "1//x", "", "1/./x", "a\\b", "1/.hidden", "config.pbtxt")
        ),
        ({"one": {"1/t": "x"}}, "needs.files.one.1/t must be an object"),
        ({"one": {"1/t": FACTS | {"sha256": "AB" * 32}}}, "needs.files.one.1/t.sha256"),
        ({"one": {"1/t": FACTS | {"size": "1"}}}, "needs.files.one.1/t.size"),
        ({"one": {"1/t": FACTS | {"size": 10}}}, "needs.files.one.1/t.size"),
        ({"one": {"1/t": FACTS | {"from": ""}}}, "needs.files.one.1/t.from"),
    ],
)
def test_files_that_say_something_else_are_refused(files, words):
    with pytest.raises(InvalidArchive) as refused:
        parse_manifest(json.dumps({"needs": {"files": files}}))
    assert f"roundhouse.json: {words}" in str(refused.value)


def test_a_delta_leaves_equal_steps_and_equal_large_files_out(tmp_path, pair):
    base, whole = pair
    left_out = make_delta(whole, base, BASE, tmp_path / "delta")
    assert set(left_out.steps) == {"two"}
    assert set(left_out.files["one"]) == {"1/table"}
    assert left_out.saved_bytes == SIZE + len(b"second")
    assert not (tmp_path / "delta/two").exists()
    assert not (tmp_path / "delta/one/1/table").exists()
    assert (tmp_path / "delta/one/1/model.onnx").read_bytes() == b"tuned"
    assert read_manifest(tmp_path / "delta").entry_model == read_layout(whole).entry


def test_what_has_nothing_in_common_is_no_delta(tmp_path, pair):
    other = repository(tmp_path / "other", only=onnx_step(b"else", source="in", result="out"))
    with pytest.raises(InvalidArchive, match="nothing in the archive lies in"):
        make_delta(pair[1], other, BASE, tmp_path / "delta")


def test_inspect_knows_the_digest_of_a_step_without_its_file_and_lint_says_so(tmp_path, pair):
    base, whole = pair
    make_delta(whole, base, BASE, tmp_path / "delta")
    found = {step.name: step.digest for step in inspect(tmp_path / "delta").steps}
    known = digests_of(whole)
    assert found == {name: known[name] for name in found}
    assert "one" in found
    with pytest.raises(InvalidArchive, match="only a part"):
        read_layout(tmp_path / "delta")
    found = lint(tmp_path / "delta")
    assert not found.problems
    assert any("the file one/1/table is taken from" in note for note in found.notes)


def test_an_archive_that_lacks_a_file_and_no_step_is_told_apart_from_a_broken_one(tmp_path, pair):
    _, whole = pair
    (whole / "one/1/table").unlink()
    needs = {"one": {"1/table": FileNeed(SHA, SIZE, BASE)}}
    (whole / "roundhouse.json").write_text(render_manifest(Manifest(file_needs=needs)))
    with pytest.raises(InvalidArchive, match=r"only a part: one/1/table lies in 'bases/base\.tar\.gz'"):
        read_layout(whole)


def test_a_file_that_is_both_needed_and_there_is_refused(tmp_path, pair):
    base, whole = pair
    make_delta(whole, base, BASE, tmp_path / "delta")
    (tmp_path / "delta/one/1/table").write_bytes(b"mine")
    with pytest.raises(InvalidArchive, match="holds one/1/table, which its manifest takes from"):
        read_needs(tmp_path / "delta")
    with pytest.raises(InvalidArchive, match="holds one/1/table, which its manifest takes from"):
        fill_in(tmp_path / "delta", {"one": {"1/table": base / "one/1/table"}})


def test_a_file_of_a_model_that_is_not_there_is_refused(tmp_path):
    root = tuned(tmp_path / "x")
    needs = {"ghost": {"1/table": FileNeed(SHA, SIZE, BASE)}}
    (root / "roundhouse.json").write_text(render_manifest(Manifest(file_needs=needs)))
    with pytest.raises(InvalidArchive, match="names the model 'ghost', which the archive does not hold"):
        read_needs(root)


def test_no_file_is_put_through_a_link(tmp_path, pair):
    base, whole = pair
    delta = tmp_path / "delta"
    make_delta(whole, base, BASE, delta)
    outside = tmp_path / "outside"
    outside.mkdir()
    (delta / "one/1").rename(delta / "one/kept")
    (delta / "one/1").symlink_to(outside)
    with pytest.raises(InvalidArchive, match="a link or a file on its way"):
        fill_in(delta, {"one": {"1/table": base / "one/1/table"}})
    assert list(outside.iterdir()) == []


def test_a_twin_is_filled_and_the_original_stays(tmp_path, pair):
    base, whole = pair
    make_delta(whole, base, BASE, tmp_path / "delta")
    twin = twin_of(tmp_path / "delta", tmp_path / "twin")
    fill_in(twin, {"one": {"1/table": base / "one/1/table"}})
    assert (twin / "one/1/table").samefile(base / "one/1/table")
    assert not (tmp_path / "delta/one/1/table").exists()


def test_the_command_makes_a_delta(tmp_path, pair):
    base, whole = pair
    to = tmp_path / "delta.tar.gz"
    command = ["delta", str(whole), "--base", str(base), "--base-name", BASE, "-o", str(to)]
    done = CliRunner().invoke(archive, command)
    assert done.exit_code == 0, done.output
    assert "two" in done.output
    assert "one/1/table" in done.output
    assert 0 < to.stat().st_size < SIZE // 10
    again = CliRunner().invoke(archive, ["delta", str(tmp_path / "none"), "--base", str(base), "-o", str(to)])
    assert again.exit_code != 0
