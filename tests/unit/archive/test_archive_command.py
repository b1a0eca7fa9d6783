import json

import pytest
from click.testing import CliRunner

from server.commands.archive import archive
from tests.unit.archive.writing import chain, onnx_step, repository, step_config, write_files


def run(*arguments):
    return CliRunner().invoke(archive, [str(argument) for argument in arguments])


@pytest.fixture
def packed(tmp_path):
    root = chain(tmp_path / "source")
    (root / "roundhouse.json").write_text(
        '{"task": "demo", "description": "two steps", "steps": {"one": {"footprint_bytes": {"cpu": 2048}}}}'
    )
    assert run("pack", root, "-o", tmp_path / "a.tar.gz").exit_code == 0
    return tmp_path / "a.tar.gz"


def test_inspect_shows_task_steps_and_tensors(packed):
    result = run("inspect", packed)
    assert result.exit_code == 0
    for words in ("task demo", "whole", "entry", "onnxruntime", "cpu 2.0 KiB", "FP32 [batch, 4]", "calls one, two"):
        assert words in result.output


def test_inspect_json_has_the_same_digests_for_file_and_folder(packed):
    from_file, from_folder = (
        json.loads(run("inspect", "--json", p).output) for p in (packed, packed.parent / "source")
    )
    assert from_file == from_folder
    assert from_file["entry"] == "whole"
    assert [len(step["digest"]) for step in from_file["steps"]] == [64, 64, 64]


def test_inspect_marks_a_digest_that_will_change(tmp_path):
    repository(tmp_path, m={"1/model.onnx": "x"})
    assert "~" in run("inspect", tmp_path).output


def test_inspect_of_what_is_no_archive_is_one_line(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b no")
    result = run("inspect", tmp_path / "a.tar.gz")
    assert result.exit_code == 1
    assert result.output.startswith("Error: a.tar.gz: the archive is damaged")


def test_lint_is_content_with_a_good_archive(packed):
    result = run("lint", packed)
    assert (result.exit_code, result.output) == (0, "a.tar.gz is fine\n")


def test_lint_tells_all_problems_and_fails(tmp_path):
    repository(tmp_path, a={"config.pbtxt": "bogus: 1"}, b={"config.pbtxt": step_config()})
    (tmp_path / "roundhouse.json").write_text("{")
    result = run("lint", tmp_path)
    assert result.exit_code == 1
    assert result.output.count("problem: ") == 3


def test_lint_looks_between_the_models(tmp_path):
    chain(tmp_path)
    write_files(tmp_path / "two", {"config.pbtxt": step_config(kind="TYPE_INT64")})
    result = run("lint", tmp_path)
    assert result.exit_code == 1
    assert "INT64" in result.output


def test_lint_notes_are_no_problem(tmp_path):
    repository(tmp_path, m={"1/model.onnx": "x"}, code={"a.py": ""}, **{".git": {"x": ""}})
    result = run("lint", tmp_path)
    assert result.exit_code == 0
    for words in ("finds them out", "ignored beside the models: code", "hidden: .git", "plain Triton repository"):
        assert words in result.output


@pytest.mark.parametrize(
    "files", [{"a": "x"}, {"m/config.pbtxt": step_config(extra='label_filename: "no"'), "m/1/model.onnx": ""}]
)
def test_lint_fails_for_what_cannot_be_served(tmp_path, files):
    assert run("lint", write_files(tmp_path, files)).exit_code == 1


def test_lint_notes_models_that_are_never_called(tmp_path):
    chain(tmp_path)
    (tmp_path / "roundhouse.json").write_text('{"entry_model": "one"}')
    assert "'whole' is never called" in run("lint", tmp_path).output


def test_lint_fails_for_two_entries(tmp_path):
    result = run("lint", repository(tmp_path, a=onnx_step(), b=onnx_step()))
    assert result.exit_code == 1
    assert "entry_model" in result.output


def test_pack_refuses_what_could_not_be_served_unless_told_so(tmp_path):
    write_files(tmp_path / "source", {"a": "x"})
    assert run("pack", tmp_path / "source", "-o", tmp_path / "a.tar").exit_code == 1
    assert not (tmp_path / "a.tar").exists()
    assert run("pack", "--no-lint", tmp_path / "source", "-o", tmp_path / "a.tar").exit_code == 0


def test_help_teaches_with_examples():
    for command in ("inspect", "lint", "pack"):
        assert f"roundhouse archive {command}" in run(command, "--help").output
