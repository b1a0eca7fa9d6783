"""What tritonserver finds on disk for a staged step."""

import errno
import os
from pathlib import Path

import pytest

from server.archive.model_config import parse, render
from server.domain.errors import DiskFull, EngineLost, InvalidArchive
from server.domain.model import ModelSignature, Step
from server.engines.triton.loading.residents import Resident, Residents
from server.engines.triton.repository.config_rewrite import instance_devices, rewrite
from server.engines.triton.repository.staged import StagedRepository, telling_of_a_full_disk
from tests.golden.golden import check

TOKENIZER, ENCODER, PIPELINE = "a" * 64, "b" * 64, "c" * 64
IN_TRITON = {"tokenizer": "rh_" + "a" * 32, "encoder": "rh_" + "b" * 32 + "n1"}
TENSORS = 'input { name: "X" data_type: TYPE_FP32 dims: 1 } output { name: "Y" data_type: TYPE_FP32 dims: 1 }'
ENSEMBLE = f"""name: "pipeline" platform: "ensemble" max_batch_size: 8 {TENSORS}
ensemble_scheduling {{
  step {{ model_name: "tokenizer" model_version: -1 input_map {{ key: "T" value: "X" }} output_map {{ key: "I" value: "ids" }} }}
  step {{ model_name: "encoder" model_version: -1 input_map {{ key: "I" value: "ids" }} output_map {{ key: "E" value: "Y" }} }}
}}"""


def step(directory, backend="python", digest=PIPELINE, calls=None, name="step"):
    return Step(digest, name, backend, directory, ModelSignature(backend, 0, (), ()), calls or {})


def write(folder, config, **files):
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config)
    for name, text in files.items():
        (folder / "1" / name.replace("__", ".")).write_text(text)
    return folder


def test_an_ensemble_is_golden():
    config = rewrite(parse(ENSEMBLE), "rh_" + "c" * 32, IN_TRITON)
    check("triton_ensemble.config.pbtxt", render(config))


def test_an_emulated_backend_is_golden():
    text = f'name: "m" platform: "onnxruntime_onnx" {TENSORS} instance_group {{ name: "mine" kind: KIND_CPU }}'
    check("triton_emulated.config.pbtxt", render(rewrite(parse(text), "rh_" + "b" * 32, {}, {"onnxruntime"})))


def test_a_native_backend_keeps_its_platform():
    config = rewrite(parse(f'name: "m" platform: "onnxruntime_onnx" {TENSORS}'), "rh_1", {})
    assert (config.platform, config.backend, config.default_model_filename) == ("onnxruntime_onnx", "", "")


def test_an_ensemble_of_a_stranger_is_refused():
    with pytest.raises(InvalidArchive, match="encoder"):
        rewrite(parse(ENSEMBLE), "rh_1", {"tokenizer": "rh_2"})


def test_a_python_step_is_linked_and_nobody_can_write_bytecode_beside_it(tmp_path):
    source = write(tmp_path / "echo", f'name: "echo" backend: "python" {TENSORS}', model__py="pass", words__txt="hi")
    (source / "1" / "__pycache__").mkdir()
    repository = StagedRepository(tmp_path / "run")
    repository.place(step(source), "rh_1", {})
    placed = repository.folder / "rh_1" / "1"
    assert (placed / "model.py").samefile(source / "1" / "model.py")
    assert (placed / "words.txt").read_text() == "hi"
    assert (placed / "__pycache__").is_file()
    assert sorted(path.name for path in placed.iterdir()) == ["__pycache__", "model.py", "words.txt"]
    repository.remove("rh_1")
    repository.remove("rh_1")
    assert list(repository.folder.iterdir()) == []
    assert (source / "1" / "model.py").read_text() == "pass"


def test_a_step_that_calls_others_gets_the_wiring(tmp_path):
    source = write(tmp_path / "bls", f'name: "bls" backend: "python" {TENSORS}', model__py="pass")
    repository = StagedRepository(tmp_path / "run")
    repository.place(step(source, calls={"encoder": ENCODER}), "rh_1", {"encoder": "rh_2"})
    placed = repository.folder / "rh_1"
    assert parse((placed / "config.pbtxt").read_text()).default_model_filename == "roundhouse_calls.py"
    assert (placed / "1" / "roundhouse_calls.json").read_text() == '{"module": "model", "names": {"encoder": "rh_2"}}'
    assert (placed / "1" / "roundhouse_calls.py").is_file()


@pytest.mark.parametrize("backend", ["python", "onnxruntime"])
def test_a_missing_model_file_is_refused_because_triton_would_wait_for_ever(tmp_path, backend):
    source = write(tmp_path / "step", f'name: "step" backend: "{backend}" {TENSORS}')
    repository = StagedRepository(tmp_path / "run", {"onnxruntime"})
    with pytest.raises(InvalidArchive, match=r"model\.(py|onnx)"):
        repository.place(step(source, backend), "rh_1", {})
    assert list(repository.folder.iterdir()) == []


def test_an_ensemble_gets_the_version_folder_it_lost(tmp_path):
    source = tmp_path / "pipeline"
    source.mkdir()
    (source / "config.pbtxt").write_text(ENSEMBLE)
    repository = StagedRepository(tmp_path / "run")
    repository.place(step(source, "ensemble"), "rh_1", IN_TRITON)
    assert (repository.folder / "rh_1" / "1").is_dir()


@pytest.mark.parametrize(
    ("text", "gpus", "devices"),
    [
        ('backend: "python"', 0, ["cpu"]),
        ('backend: "python"', 2, ["cpu"]),
        ('backend: "onnxruntime"', 2, ["gpu:0", "gpu:1"]),
        ('backend: "onnxruntime" instance_group { kind: KIND_CPU count: 3 }', 2, ["cpu", "cpu", "cpu"]),
        ('backend: "python" instance_group { kind: KIND_GPU gpus: 1 count: 2 }', 2, ["gpu:1", "gpu:1"]),
        ('platform: "ensemble"', 1, []),
    ],
)
def test_where_instances_go(text, gpus, devices):
    assert instance_devices(parse(text), gpus) == devices


def resident_family():
    folder = Path("unused")
    table = Residents()
    steps = {
        "tokenizer": step(folder, digest=TOKENIZER, name="tokenizer"),
        "encoder": step(folder, digest=ENCODER, name="encoder"),
        "pipeline": step(folder, "ensemble", PIPELINE, {"tokenizer": TOKENIZER, "encoder": ENCODER}, "pipeline"),
    }
    for each in steps.values():
        table.add(Resident(each, table.name_for(each), "cpu"))
    return table, steps


def test_a_broken_step_takes_its_callers_along_and_all_get_new_names():
    table, steps = resident_family()
    broken = table.broken("rh_" + "b" * 32)
    assert [each.step.name for each in broken] == ["pipeline", "encoder"]
    assert table.broken("rh_" + "b" * 32) == []
    assert table.name_for(steps["encoder"]) == IN_TRITON["encoder"]
    assert table.name_for(steps["tokenizer"]) == IN_TRITON["tokenizer"]
    with pytest.raises(EngineLost, match="encoder"):
        table.names_of_calls(steps["pipeline"])


def test_a_new_run_starts_with_fresh_names():
    table, steps = resident_family()
    table.broken("rh_" + "b" * 32)
    assert table.clear() == [TOKENIZER]
    assert table.name_for(steps["encoder"]) == "rh_" + "b" * 32


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such_and_not_as_a_fault_of_the_step(number):
    with pytest.raises(DiskFull, match="encoder") as caught, telling_of_a_full_disk("encoder"):
        raise OSError(number, os.strerror(number), "/secret/place")
    assert "/secret" not in str(caught.value)


def test_another_trouble_with_the_disk_stays_what_it_is_and_leaves_nothing_half_placed(tmp_path):
    source = write(tmp_path / "echo", f'name: "echo" backend: "python" {TENSORS}', model__py="pass")
    repository = StagedRepository(tmp_path / "run")
    repository.folder.rmdir()
    with pytest.raises(FileNotFoundError):
        repository.place(step(source), "rh_1", {})
    assert list((tmp_path / "run" / "incoming").iterdir()) == []
