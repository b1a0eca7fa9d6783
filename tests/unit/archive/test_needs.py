"""Archives that leave steps out: what the manifest says, and what can be told without the base."""

import json

import pytest
from click.testing import CliRunner

from server.archive.inspection import inspect
from server.archive.layout import read_layout, read_needs
from server.archive.lint import lint
from server.archive.manifest import Manifest, parse_manifest, render_manifest
from server.archive.needs import Need
from server.archive.staging import stage_folder
from server.commands.archive import archive
from server.domain.errors import InvalidArchive
from tests.unit.archive.needs_writing import BASE, base, digests_of, head, head_on
from tests.unit.archive.writing import onnx_step, repository

DIGEST = "ab" * 32


@pytest.fixture
def roots(tmp_path):
    lender = base(tmp_path / "base")
    return lender, head_on(lender, tmp_path / "head")


def never(path, config):
    raise AssertionError(f"{path} is complete and was asked about")


def staged(root, to, name="head", **options):
    return stage_folder(root, name, "v1", to, never, link=True, **options)


def test_a_manifest_with_needs_is_read_as_it_was_written():
    manifest = Manifest(entry_model="head", needs={"one": Need(DIGEST, BASE)})
    assert parse_manifest(render_manifest(manifest)) == manifest
    assert "needs" not in render_manifest(Manifest(entry_model="head"))


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ([], "needs must be an object"),
        ({"weights": {}}, "needs must be an object"),
        ({"steps": []}, "needs.steps must be an object"),
        ({"steps": {"one": "minilm"}}, "needs.steps.one must be an object"),
        ({"steps": {"one": {"from": BASE}}}, "needs.steps.one.digest"),
        ({"steps": {"one": {"digest": "AB" * 32, "from": BASE}}}, "needs.steps.one.digest"),
        ({"steps": {"one": {"digest": DIGEST}}}, "needs.steps.one.from"),
        ({"steps": {"one": {"digest": DIGEST, "from": ""}}}, "needs.steps.one.from"),
    ],
)
def test_needs_that_say_something_else_are_refused(needs, words):
    with pytest.raises(InvalidArchive, match=rf"roundhouse\.json: {words}"):
        parse_manifest(json.dumps({"needs": needs}))


def test_a_head_with_its_base_at_hand_is_the_same_as_a_whole_archive(tmp_path, roots):
    lender, borrower = roots
    lent = {step.name: step.directory for step in staged(lender, tmp_path / "steps", "base").steps}
    whole = repository(tmp_path / "whole", head={"config.pbtxt": (borrower / "head/config.pbtxt").read_text()})
    repository(whole, one=onnx_step(b"first"), two=onnx_step(b"second"))
    apart = staged(borrower, tmp_path / "apart", borrowed={name: lent[name] for name in ("one", "two")})
    assert [step.digest for step in apart.steps] == [step.digest for step in staged(whole, tmp_path / "own").steps]
    assert apart.signature.inputs[0].name == "IN"


def test_a_head_without_its_base_is_told_apart_from_a_broken_one(tmp_path, roots):
    _, borrower = roots
    steps, files = read_needs(borrower)
    assert (steps["one"].archive, files) == (BASE, {})
    with pytest.raises(InvalidArchive, match=f"its step 'one' lies in '{BASE}'"):
        staged(borrower, tmp_path / "steps")
    assert set(read_layout(borrower, is_partial=True).missing) == {"one", "two"}


def test_a_step_that_is_both_needed_and_there_is_refused(roots):
    _, borrower = roots
    repository(borrower, one=onnx_step())
    with pytest.raises(InvalidArchive, match="holds 'one', which its manifest takes from"):
        read_layout(borrower, is_partial=True)


def test_inspect_knows_the_whole_digest_without_the_base(tmp_path, roots):
    lender, borrower = roots
    lent = {step.name: step.directory for step in staged(lender, tmp_path / "steps", "base").steps}
    whole = staged(borrower, tmp_path / "steps", borrowed=lent)
    facts = inspect(borrower)
    assert [step.digest for step in facts.steps] == [whole.entry]
    assert {need.name: need.digest for need in facts.needs} == {
        n: d for n, d in digests_of(lender).items() if n != "whole"
    }


def test_the_commands_tell_what_is_needed_and_from_where(roots):
    _, borrower = roots
    shown = CliRunner().invoke(archive, ["inspect", str(borrower)])
    assert f"from {BASE}" in shown.output
    checked = CliRunner().invoke(archive, ["lint", str(borrower)])
    assert (checked.exit_code, "head is fine" in checked.output) == (0, True)
    assert f"'one' is taken from '{BASE}'" in checked.output
    assert lint(borrower).problems == ()


def test_a_call_of_what_is_neither_held_nor_needed_is_a_problem(tmp_path):
    broken = head(tmp_path, {"one": (DIGEST, BASE)})
    assert "calls 'two', which the archive does not hold" in lint(broken).problems[0]


def test_steps_apart_have_digests_of_their_own(tmp_path, roots):
    lender, _ = roots
    shared = staged(lender, tmp_path / "a", "x")
    apart, other = (staged(lender, tmp_path / "a", name, sharing=False) for name in ("x", "y"))
    every = [step.digest for each in (shared, apart, other) for step in each.steps]
    assert len(set(every)) == 9
    assert [s.digest for s in staged(lender, tmp_path / "b", "x", sharing=False).steps] == [
        s.digest for s in apart.steps
    ]
