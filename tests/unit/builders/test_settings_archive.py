"""Settings of a finished archive: what there is to set, and that nothing else changes."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from builders.cli.settings import settings
from builders.pipeline.settings_archive import described
from server.archive.inspection import inspect
from server.archive.manifest import Manifest, read_manifest, write_manifest
from server.archive.model_config import parse
from server.archive.pack import pack
from tests.fakes import repositories

BATCHED = "dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 500 }"


@pytest.fixture
def folder(tmp_path):
    root = repositories.echo_pipeline(tmp_path / "archive")
    repositories.onnx_identity(root / "identity", extra=BATCHED)
    write_manifest(Manifest(task="mine", entry_model="pipeline", provenance={"model": "echo"}), root)
    return root


def run(*arguments):
    return CliRunner(env={"COLUMNS": "120"}).invoke(settings, [str(argument) for argument in arguments])


def content(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(root).rglob("*")
        if path.is_file()
    }


def test_what_can_be_set_is_listed(folder):
    done = run(folder, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["entry"], facts["task"], facts["max_batch_size"]) == ("pipeline", "mine", 8)
    assert facts["inputs"] == [{"name": "INPUT0", "datatype": "FP32", "dims": [4], "is_optional": False}]
    assert {name: each["settings"] for name, each in facts["steps"].items()} == {
        "echo": {"instances": ""},
        "identity": {"threads": "", "instances": "", "preferred": "4", "delay_us": "500"},
        "pipeline": {},
    }


def test_a_setting_changes_its_step_and_leaves_all_else_and_the_original_as_it_was(folder, tmp_path):
    before = content(folder)
    done = run(
        folder, "--set", "identity.threads=2", "--set", "identity.preferred=8+2", "--set", "identity.delay_us=",
        "--set", "echo.instances=3", "-o", tmp_path / "tuned",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert content(folder) == before
    after = content(tmp_path / "tuned")
    assert {name for name in before if before[name] != after[name]} == {
        "echo/config.pbtxt", "identity/config.pbtxt", "roundhouse.json",
    }  # fmt: skip
    config = parse((tmp_path / "tuned/identity/config.pbtxt").read_text())
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 8]
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert parse((tmp_path / "tuned/echo/config.pbtxt").read_text()).instance_group[0].count == 3
    provenance = read_manifest(tmp_path / "tuned").provenance
    assert provenance["model"] == "echo"
    assert provenance["settings"]["identity.threads"] == "2"


def test_steps_that_are_not_named_keep_their_digests(folder, tmp_path):
    run(folder, "--set", "identity.threads=1", "-o", tmp_path / "tuned")
    before, after = ({step.name: step.digest for step in inspect(root).steps} for root in (folder, tmp_path / "tuned"))
    assert {name for name in before if before[name] != after[name]} == {"identity", "pipeline"}


def test_a_packed_archive_gives_the_same_bytes_each_time(folder, tmp_path):
    pack(folder, tmp_path / "packed.tar.gz")
    for name in ("one", "two"):
        assert (
            run(tmp_path / "packed.tar.gz", "--set", "echo.instances=2", "-o", tmp_path / f"{name}.tar.gz").exit_code
            == 0
        )
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    assert described(tmp_path / "one.tar.gz")["steps"]["echo"]["settings"] == {"instances": "2"}


def test_a_setting_that_is_taken_away_is_the_servers_again(folder, tmp_path):
    run(folder, "--set", "identity.threads=1", "-o", tmp_path / "one")
    run(tmp_path / "one", "--set", "identity.threads=", "-o", tmp_path / "none")
    assert described(tmp_path / "one")["steps"]["identity"]["settings"]["threads"] == "1"
    assert described(tmp_path / "none")["steps"]["identity"]["settings"]["threads"] == ""


def test_a_single_model_without_a_folder_or_a_manifest(tmp_path):
    root = repositories.onnx_identity(tmp_path / "alone")
    assert run(root, "--set", "alone.threads=1", "-o", tmp_path / "tuned").exit_code == 0
    assert "intra_op_thread_count" in (tmp_path / "tuned/config.pbtxt").read_text()
    assert not (tmp_path / "tuned/roundhouse.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("nobody.threads=1", "has no step 'nobody'; it has echo, identity, pipeline"),
        ("echo.threads=1", "step 'echo' has no setting 'threads'; it has instances"),
        ("pipeline.threads=1", "it has none: what it calls has them"),
        ("identity.threads=0", "is 1 to 4096, got '0'"),
        ("identity.threads=many", "got 'many'"),
        ("identity.threads=1+2", "is one number"),
        ("identity.preferred=9", "is 1 to 8, got '9'"),
        ("identity", "write STEP.SETTING=VALUE"),
    ],
    ids=["step", "setting", "ensemble", "zero", "word", "list", "size", "form"],
)
def test_what_cannot_be_set_is_told_with_what_can(folder, tmp_path, change, said):
    done = run(folder, "--set", change, "-o", tmp_path / "out")
    assert done.exit_code != 0
    assert said in " ".join(done.output.replace("\n", " ").split())
    assert not (tmp_path / "out").exists()


def test_nothing_changes_in_place(folder):
    assert "say with -o where" in run(folder, "--set", "echo.instances=2").output
    assert "another place than ARCHIVE" in run(folder, "--set", "echo.instances=2", "-o", folder).output


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty")
    assert done.exit_code == 1
    assert "holds no model" in done.output
