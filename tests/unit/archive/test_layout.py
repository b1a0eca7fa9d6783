import json

import pytest

from server.archive.layout import read_layout
from server.domain.errors import InvalidArchive
from tests.unit.archive.writing import (
    chain,
    ensemble_config,
    onnx_step,
    python_step,
    repository,
    step_config,
    write_files,
)

CALLS = 'parameters {{ key: "CALLS" value {{ string_value: "{}" }} }}'


def names(layout):
    return [model.name for model in layout.models]


def test_callees_come_first_and_the_entry_last(tmp_path):
    layout = read_layout(chain(tmp_path))
    assert layout.entry == "whole"
    assert names(layout) == ["one", "two", "whole"]
    assert layout.models[-1].calls == ("one", "two")


def test_an_ensemble_without_platform_is_still_the_entry(tmp_path):
    schedule = ensemble_config([("b", "IN", "OUT")], platform=False)
    repository(tmp_path, a={"config.pbtxt": schedule}, b=onnx_step())
    assert read_layout(tmp_path).entry == "a"


def test_of_nested_ensembles_the_outer_one_is_the_entry(tmp_path):
    inner = ensemble_config([("step", "IN", "OUT")])
    outer = inner.replace('"step"', '"inner"').replace('key: "x"', 'key: "IN"').replace('key: "y"', 'key: "OUT"')
    repository(tmp_path, outer={"config.pbtxt": outer}, inner={"config.pbtxt": inner}, step=onnx_step())
    layout = read_layout(tmp_path)
    assert layout.entry == "outer"
    assert names(layout) == ["step", "inner", "outer"]


@pytest.mark.parametrize("junk", [".ipynb_checkpoints", "__MACOSX", ".git"])
def test_hidden_folders_are_no_models(tmp_path, junk):
    repository(tmp_path, model=onnx_step())
    write_files(tmp_path / junk, {"config.pbtxt": 'platform: "ensemble"', "1/model.onnx": "x"})
    assert names(read_layout(tmp_path)) == ["model"]


def test_folders_that_hold_no_model_are_ignored(tmp_path):
    repository(tmp_path, model=onnx_step(), code={"inference.py": "pass"})
    assert names(read_layout(tmp_path)) == ["model"]


def test_a_flat_archive_is_one_model_with_the_name_in_its_config(tmp_path):
    write_files(tmp_path, onnx_step(more='name: "resnet"'))
    layout = read_layout(tmp_path)
    assert layout.entry == "resnet"
    assert layout.models[0].path == tmp_path


def test_a_flat_archive_without_a_name_gets_one(tmp_path):
    assert read_layout(write_files(tmp_path, onnx_step())).entry == "model"


def test_one_wrapping_folder_is_seen_through(tmp_path):
    chain(tmp_path / "wrapped")
    (tmp_path / "wrapped" / "roundhouse.json").write_text('{"task": "t"}')
    layout = read_layout(tmp_path)
    assert layout.entry == "whole"
    assert layout.manifest is not None
    assert layout.manifest.task == "t"


@pytest.mark.parametrize(
    ("file", "backend"), [("model.onnx", "onnxruntime"), ("model.py", "python"), ("model.plan", "tensorrt")]
)
def test_a_folder_without_config_is_a_model_if_its_file_tells_the_backend(tmp_path, file, backend):
    repository(tmp_path, model={f"1/{file}": "x"})
    layout = read_layout(tmp_path)
    assert (layout.entry, layout.models[0].config.backend) == ("model", backend)


def test_the_folders_name_wins_over_the_configs(tmp_path):
    repository(tmp_path, folder=onnx_step(more='name: "other"'))
    layout = read_layout(tmp_path)
    assert (layout.entry, layout.models[0].config.name) == ("folder", "folder")


def test_a_python_step_that_names_its_calls(tmp_path):
    repository(tmp_path, bls=python_step(more=CALLS.format("helper")), helper=onnx_step(), other=onnx_step())
    (tmp_path / "roundhouse.json").write_text('{"entry_model": "bls"}')
    layout = read_layout(tmp_path)
    assert names(layout) == ["helper", "bls"]
    assert layout.unused == ("other",)


def test_a_python_step_that_makes_requests_may_call_all_others(tmp_path):
    repository(tmp_path, bls=python_step("pb_utils.InferenceRequest(name)"), a=onnx_step(b"a"), b=onnx_step(b"b"))
    layout = read_layout(tmp_path)
    assert layout.entry == "bls"
    assert layout.models[-1].calls == ("a", "b")
    assert names(layout) == ["a", "b", "bls"]


def test_requests_that_are_made_beside_model_py_are_seen_too(tmp_path):
    repository(tmp_path, bls=python_step("import logic") | {"1/logic.py": "InferenceRequest('a')"}, a=onnx_step())
    assert read_layout(tmp_path).entry == "bls"


def test_an_empty_calls_parameter_means_nobody(tmp_path):
    source = "InferenceRequest("
    repository(tmp_path, bls=python_step(source, more=CALLS.format("")), a=onnx_step())
    (tmp_path / "roundhouse.json").write_text('{"entry_model": "bls"}')
    assert names(read_layout(tmp_path)) == ["bls"]


def test_a_guessed_call_never_leads_back(tmp_path):
    repository(
        tmp_path,
        whole={"config.pbtxt": ensemble_config([("bls", "IN", "OUT")])},
        bls=python_step("InferenceRequest('encoder')"),
        encoder=onnx_step(),
    )
    layout = read_layout(tmp_path)
    assert names(layout) == ["encoder", "bls", "whole"]
    assert layout.models[1].calls == ("encoder",)


def test_two_guessing_steps_may_name_each_other_and_still_load(tmp_path):
    repository(tmp_path, a=python_step("InferenceRequest('b')"), b=python_step("InferenceRequest('a')"))
    (tmp_path / "roundhouse.json").write_text('{"entry_model": "b"}')
    assert set(names(read_layout(tmp_path))) <= {"a", "b"}


def test_an_ensemble_that_nobody_names_wins_over_a_step_that_might_call_it(tmp_path):
    repository(
        tmp_path,
        whole={"config.pbtxt": ensemble_config([("step", "IN", "OUT")])},
        step=onnx_step(),
        tool=python_step("InferenceRequest(name)"),
    )
    assert read_layout(tmp_path).entry == "whole"


def test_a_python_step_that_names_the_ensemble_is_the_entry(tmp_path):
    repository(
        tmp_path,
        whole={"config.pbtxt": ensemble_config([("step", "IN", "OUT")])},
        step=onnx_step(),
        front=python_step("InferenceRequest(model_name='whole')"),
    )
    assert read_layout(tmp_path).entry == "front"


def test_the_manifest_names_the_entry(tmp_path):
    chain(tmp_path)
    (tmp_path / "roundhouse.json").write_text(json.dumps({"entry_model": "two"}))
    layout = read_layout(tmp_path)
    assert names(layout) == ["two"]
    assert layout.unused == ("one", "whole")


def test_an_entry_named_from_outside_counts_where_the_manifest_names_none(tmp_path):
    repository(tmp_path, a=onnx_step(), b=onnx_step())
    assert read_layout(tmp_path, entry="b").entry == "b"
    (tmp_path / "roundhouse.json").write_text('{"entry_model": "a"}')
    assert read_layout(tmp_path, entry="b").entry == "a"


def test_two_models_that_nobody_calls_are_ambiguous(tmp_path):
    repository(tmp_path, a=onnx_step(), b=onnx_step())
    with pytest.raises(InvalidArchive, match=r"'a', 'b'.*\"entry_model\": \"a\""):
        read_layout(tmp_path)


def test_a_manifest_that_names_nobody_lists_who_is_there(tmp_path):
    chain(tmp_path)
    (tmp_path / "roundhouse.json").write_text(json.dumps({"entry_model": "gone"}))
    with pytest.raises(InvalidArchive, match=r"'gone'.*'one', 'two', 'whole'"):
        read_layout(tmp_path)


def test_a_missing_composing_model_is_named(tmp_path):
    repository(tmp_path, whole={"config.pbtxt": ensemble_config([("gone", "IN", "OUT")])}, one=onnx_step())
    with pytest.raises(InvalidArchive, match="'whole' calls 'gone'"):
        read_layout(tmp_path)


def test_a_circle_is_refused_and_shown(tmp_path):
    repository(
        tmp_path,
        a={"config.pbtxt": ensemble_config([("b", "IN", "OUT")])},
        b={"config.pbtxt": ensemble_config([("a", "IN", "OUT")])},
    )
    with pytest.raises(InvalidArchive, match="a -> b -> a"):
        read_layout(tmp_path)


def test_a_model_that_calls_itself_is_a_circle(tmp_path):
    repository(tmp_path, a={"config.pbtxt": ensemble_config([("a", "IN", "OUT")])})
    with pytest.raises(InvalidArchive, match="a -> a"):
        read_layout(tmp_path)


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("", ("10",)),
        ("version_policy { latest { num_versions: 2 } }", ("9", "10")),
        ("version_policy { all { } }", ("2", "9", "10")),
        ("version_policy { specific { versions: [ 2, 9 ] } }", ("2", "9")),
    ],
)
def test_the_version_policy_chooses_the_versions(tmp_path, policy, kept):
    files = {f"{version}/model.onnx": "x" for version in (2, 9, 10)}
    repository(tmp_path, model={"config.pbtxt": step_config(more=policy), **files, "007/model.onnx": "no version"})
    assert read_layout(tmp_path).models[0].versions == kept


def test_a_specific_version_that_is_missing_is_named(tmp_path):
    repository(tmp_path, model=onnx_step(more="version_policy { specific { versions: [ 7 ] } }"))
    with pytest.raises(InvalidArchive, match="version 7, there is 1"):
        read_layout(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no model"),
        ({"readme.txt": "hello"}, r"found readme\.txt"),
        ({"m/config.pbtxt": step_config()}, "no version folder"),
        ({"m/config.pbtxt": step_config(), "m/1/other.txt": "x"}, r"no model\.onnx in its version folder 1"),
        ({"m/config.pbtxt": "max_batch_size: 1", "m/1/weights.bin": "x"}, "neither backend nor platform"),
        ({"m/config.pbtxt": "max_batch_size: 1\nbogus: 1", "m/1/model.onnx": "x"}, "model 'm'.*line 2"),
        ({"m/config.pbtxt": b"name: \xff", "m/1/model.onnx": "x"}, "UTF-8"),
        ({"config.pbtxt": step_config(more='name: "../x"'), "1/model.onnx": "x"}, "cannot be a model's name"),
        (
            {"m/config.pbtxt": step_config(more='default_model_filename: "../../x"'), "m/1/model.onnx": "x"},
            "leaves the version folder",
        ),
    ],
)
def test_what_is_no_repository_says_what_is_missing(tmp_path, files, message):
    with pytest.raises(InvalidArchive, match=message):
        read_layout(write_files(tmp_path, files))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InvalidArchive, match="not there"):
        read_layout(tmp_path / "gone")


def test_an_ensemble_may_lack_its_version_folder(tmp_path):
    assert read_layout(chain(tmp_path)).models[-1].versions == ()
