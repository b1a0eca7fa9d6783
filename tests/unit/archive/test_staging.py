import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.archive.model_config import parse
from server.archive.placing import MARKER, _publish, clear_leftovers, verified_bytes
from server.archive.staging import stage_folder
from server.domain.errors import DiskFull, InvalidArchive, UnsupportedModel
from tests.unit.archive.writing import (
    chain,
    contents,
    ensemble_config,
    limited_file_size,
    onnx_step,
    python_step,
    repository,
    step_config,
    write_files,
)


def never(directory, config):
    raise AssertionError(f"{config.name} is complete already")


def stage(root, steps_dir, complete=never, link=False):
    return stage_folder(root, "name", "v1", steps_dir, complete, link)


@pytest.mark.parametrize("link", [False, True])
def test_every_step_lies_below_its_digest(tmp_path, link):
    staged = stage(chain(tmp_path / "a"), tmp_path / "steps", link=link)
    assert [step.name for step in staged.steps] == ["one", "two", "whole"]
    assert [step.backend for step in staged.steps] == ["onnxruntime", "onnxruntime", "ensemble"]
    assert (staged.entry, staged.key) == (staged.steps[-1].digest, "name@v1")
    for step in staged.steps:
        assert step.directory == tmp_path / "steps" / step.digest
        assert parse((step.directory / "config.pbtxt").read_text()).name == step.name
    assert (staged.steps[0].directory / "1" / "model.onnx").read_bytes() == b"first"
    assert (staged.steps[-1].directory / "1").is_dir()
    assert dict(staged.steps[-1].calls) == {"one": staged.steps[0].digest, "two": staged.steps[1].digest}
    assert [step.file_bytes for step in staged.steps] == [5, 6, 0]


def test_staged_files_are_read_only_copies(tmp_path):
    root = chain(tmp_path / "a")
    staged = stage(root, tmp_path / "steps")
    file = staged.steps[0].directory / "1" / "model.onnx"
    assert file.stat().st_mode & 0o222 == 0
    (root / "one" / "1" / "model.onnx").write_bytes(b"other")
    assert file.read_bytes() == b"first"


def test_links_share_the_files(tmp_path):
    root = chain(tmp_path / "a")
    staged = stage(root, tmp_path / "steps", link=True)
    assert (staged.steps[0].directory / "1/model.onnx").samefile(root / "one/1/model.onnx")
    assert (root / "one/1/model.onnx").stat().st_mode & 0o200


def test_only_content_is_staged(tmp_path):
    junk = {"1/__pycache__/a.pyc": "x", ".hidden": "x", "2/model.onnx": "new", "labels.txt": "cat"}
    staged = stage(repository(tmp_path / "a", m=onnx_step() | junk), tmp_path / "steps")
    assert sorted(contents(staged.steps[0].directory)) == [
        MARKER, "2", "2/model.onnx", "config.pbtxt", "labels.txt",
    ]  # fmt: skip


def test_archives_share_equal_steps(tmp_path):
    one = stage(chain(tmp_path / "a"), tmp_path / "steps")
    inode = (one.steps[0].directory / "1/model.onnx").stat().st_ino
    other = stage(chain(tmp_path / "b", second=b"other head"), tmp_path / "steps")
    assert one.steps[0] == other.steps[0]
    assert (other.steps[0].directory / "1/model.onnx").stat().st_ino == inode
    assert len(list((tmp_path / "steps").iterdir())) == 5


def test_two_names_for_one_content_are_one_step(tmp_path):
    staged = stage(chain(tmp_path / "a", first=b"same", second=b"same"), tmp_path / "steps")
    assert [step.name for step in staged.steps] == ["one", "whole"]
    assert set(staged.steps[-1].calls.values()) == {staged.steps[0].digest}


def test_a_step_comes_after_its_callees_even_where_equal_steps_are_merged(tmp_path):
    inner = ensemble_config([("leaf", "IN", "OUT")]).replace('"IN" data', '"x" data').replace('"OUT" data', '"y" data')
    inner = inner.replace('value: "IN"', 'value: "x"').replace('value: "OUT"', 'value: "y"')
    outer = ensemble_config([("inner", "IN", "between"), ("zleaf", "between", "OUT")])
    models = {"leaf": onnx_step(), "zleaf": onnx_step(), "inner": {"config.pbtxt": inner}}
    staged = stage(repository(tmp_path / "a", outer={"config.pbtxt": outer}, **models), tmp_path / "steps")
    seen = set()
    for step in staged.steps:
        assert seen.issuperset(step.calls.values())
        seen.add(step.digest)
    assert [step.name for step in staged.steps] == ["leaf", "inner", "outer"]


def test_an_incomplete_config_is_completed_before_it_is_digested(tmp_path):
    full = parse(step_config())

    def complete(directory, config):
        assert (directory.name, config.backend) == ("m", "onnxruntime")
        return full

    bare = stage(repository(tmp_path / "a", m={"1/model.onnx": b"weights"}), tmp_path / "steps", complete)
    whole = stage(repository(tmp_path / "b", m=onnx_step()), tmp_path / "steps")
    assert bare.entry == whole.entry
    assert bare.signature.inputs[0].name == "x"


def test_a_config_that_stays_incomplete_is_refused(tmp_path):
    with pytest.raises(InvalidArchive, match="'m' does not say what it takes"):
        stage(
            repository(tmp_path / "a", m={"1/model.onnx": b"x"}), tmp_path / "steps", lambda directory, config: config
        )


def test_what_complete_refuses_is_refused(tmp_path):
    def refuse(directory, config):
        raise UnsupportedModel("no such backend")

    with pytest.raises(UnsupportedModel):
        stage(repository(tmp_path / "a", m={"1/model.onnx": b"x"}), tmp_path / "steps", refuse)
    assert not (tmp_path / "steps").exists()


def test_models_that_do_not_fit_together_are_refused_before_anything_is_placed(tmp_path):
    repository(tmp_path / "a", whole={"config.pbtxt": ensemble_config([("m", "IN", "OUT")])})
    repository(tmp_path / "a", m=onnx_step(kind="TYPE_INT64"))
    with pytest.raises(InvalidArchive, match=r"step 'm'.*INT64"):
        stage(tmp_path / "a", tmp_path / "steps")
    assert not (tmp_path / "steps").exists()


def test_task_and_predicted_footprint_come_from_the_manifest(tmp_path):
    root = chain(tmp_path / "a")
    (root / "roundhouse.json").write_text(json.dumps({"task": "t", "steps": {"one": {"footprint_bytes": {"cpu": 77}}}}))
    staged = stage(root, tmp_path / "steps")
    assert staged.task == "t"
    assert [step.predicted.on("cpu") for step in staged.steps] == [77, 0, 0]


def test_an_ensembles_output_inherits_the_labels_of_its_step(tmp_path):
    step = onnx_step(extra='label_filename: "labels.txt"') | {"labels.txt": "cat\ndog"}
    schedule = ensemble_config([("m", "IN", "OUT")])
    staged = stage(repository(tmp_path / "a", m=step, whole={"config.pbtxt": schedule}), tmp_path / "steps")
    assert staged.signature.outputs[0].labels == ("cat", "dog")


def test_a_damaged_step_is_placed_anew(tmp_path):
    root = chain(tmp_path / "a")
    step = stage(root, tmp_path / "steps").steps[0]
    file = step.directory / "1" / "model.onnx"
    file.unlink()
    file.write_bytes(b"trash")
    assert verified_bytes(step.directory) is None
    assert stage(root, tmp_path / "steps").steps[0] == step
    assert file.read_bytes() == b"first"


@pytest.mark.parametrize("marker", ["", "[]", "{}", '{"files": []}', '{"files": {"gone": [1, 2]}}', "\x00"])
def test_a_marker_that_says_nothing_does_not_verify(tmp_path, marker):
    step = stage(chain(tmp_path / "a"), tmp_path / "steps").steps[0]
    (step.directory / MARKER).write_text(marker)
    assert verified_bytes(step.directory) is None


def test_many_threads_may_stage_the_same_archive(tmp_path):
    root = chain(tmp_path / "a")
    together = threading.Barrier(8)

    def go(_):
        together.wait()
        return stage(root, tmp_path / "steps")

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(go, range(8)))
    assert len({tuple(step.digest for step in staged.steps) for staged in results}) == 1
    assert {path.name for path in (tmp_path / "steps").iterdir()} == {step.digest for step in results[0].steps}
    assert all(verified_bytes(step.directory) is not None for step in results[0].steps)


def test_who_comes_second_keeps_the_first_ones_work(tmp_path):
    first = stage(chain(tmp_path / "a"), tmp_path / "steps").steps[0].directory
    second = shutil.copytree(first, tmp_path / "second")
    inode = first.stat().st_ino
    _publish(second, first)
    assert first.stat().st_ino == inode


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    root = repository(tmp_path / "a", m=onnx_step(b"x" * 50_000))
    with pytest.raises(DiskFull, match="'m'"), limited_file_size(20_000):
        stage(root, tmp_path / "steps")
    assert contents(tmp_path / "steps") == {}


def test_leftovers_of_a_killed_process_are_cleared(tmp_path):
    staged = stage(chain(tmp_path / "a"), tmp_path / "steps")
    write_files(tmp_path / "steps", {".placing-abc/1/model.onnx": "half"})
    clear_leftovers(tmp_path / "steps")
    clear_leftovers(tmp_path / "not there")
    assert {path.name for path in (tmp_path / "steps").iterdir()} == {step.digest for step in staged.steps}


def test_a_label_file_that_is_missing_names_the_model(tmp_path):
    root = repository(tmp_path / "a", m=onnx_step(extra='label_filename: "no.txt"'))
    with pytest.raises(InvalidArchive, match=r"model 'm'.*no\.txt"):
        stage(root, tmp_path / "steps")


def test_a_file_that_changes_between_digest_and_placing_is_refused(tmp_path):
    root = repository(tmp_path / "a", m=python_step("pass"))

    def digest_of(path):
        path.write_text("fail")  # as long as before
        os.utime(path, (1, 1))
        return "0" * 64

    with pytest.raises(InvalidArchive, match="changed while it was staged"):
        stage_folder(root, "name", "v1", tmp_path / "steps", never, link=False, digest_of=digest_of)
    assert contents(tmp_path / "steps") == {}
