"""Section 2.1, points 4 and 5: which model of a folder answers. Triton takes the last folder it sees; we take the right one."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.blackbox import steps
from tests.blackbox.archives import Build
from tests.blackbox.client import outputs
from tests.fakes.repositories import (
    chain_ensemble,
    linear_pipeline,
    linear_pipeline_answer,
    linear_weights,
    onnx_identity,
    onnx_linear,
    python_echo,
)

ONES = np.ones((1, 4), dtype=np.float32)
LINEAR = (ONES @ linear_weights()).ravel().tolist()
PIPELINE = linear_pipeline_answer(ONES).ravel().tolist()
ECHOED = ONES.ravel().tolist()


def edit(file: Path, old: str, new: str) -> None:
    """Change a config as a user would write it."""
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new))


def flat(root):
    onnx_linear(root)


def nested(root):
    onnx_linear(root / "linear")


def wrapped(root):
    linear_pipeline(root / "repository")


def blank_before_the_colon(root):
    linear_pipeline(root)
    edit(root / "pipeline" / "config.pbtxt", 'platform: "ensemble"', 'platform : "ensemble"')


def scheduling_only(root):
    linear_pipeline(root)
    edit(root / "pipeline" / "config.pbtxt", 'platform: "ensemble"', "")


def ensemble_without_a_version_folder(root):
    linear_pipeline(root)
    (root / "pipeline" / "1").rmdir()


def nested_ensembles(root):
    linear_pipeline(root)
    onnx_identity(root / "after", dims=[2])
    chain_ensemble(root / "a-outer", ["pipeline", "after"], output_dims=[2])


def clutter(root):
    onnx_linear(root / "linear")
    for name in (".ipynb_checkpoints", "__MACOSX", ".git", ".hidden"):
        onnx_linear(root / name / "linear", seed=9)
    (root / "README.md").write_text("how this was made")
    (root / "._linear").write_bytes(b"\0\5\x16\7")


def other_version(root):
    (onnx_linear(root / "linear") / "1").rename(root / "linear" / "3")


def two_versions(root):
    (onnx_linear(root / "linear", seed=9) / "1").rename(root / "old")
    (onnx_linear(root / "linear") / "1").rename(root / "linear" / "12")
    (root / "old").rename(root / "linear" / "9")


def other_name_in_the_config(root):
    edit(onnx_linear(root / "linear") / "config.pbtxt", 'name: "linear"', 'name: "another"')


def calling_step(root):
    """`caller` asks `helper` (BLS), which sorts behind it and before it in no order that would help a guess."""
    steps.calling(root / "caller")
    onnx_identity(root / "helper")


def config_less_python(root):
    steps.unconfigured(root / "step")


def config_less_onnx(root):
    (onnx_linear(root / "linear") / "config.pbtxt").unlink()


class Layout(NamedTuple):
    """A folder, and what it answers to four ones."""

    says: str
    build: Build
    answer: list[float]


RIGHT = [
    Layout("flat", flat, LINEAR),
    Layout("one model", nested, LINEAR),
    Layout("an ensemble and its parts", linear_pipeline, PIPELINE),
    Layout("one folder around all", wrapped, PIPELINE),
    Layout("a blank before the colon", blank_before_the_colon, PIPELINE),
    Layout("an ensemble by its schedule only", scheduling_only, PIPELINE),
    Layout("an ensemble without a version folder", ensemble_without_a_version_folder, PIPELINE),
    Layout("an ensemble in an ensemble", nested_ensembles, PIPELINE),
    Layout("clutter beside the model", clutter, LINEAR),
    Layout("a version that is not 1", other_version, LINEAR),
    Layout("the newest of two versions", two_versions, LINEAR),
    Layout("another name in the config", other_name_in_the_config, LINEAR),
    Layout("a step that calls its helper", calling_step, ECHOED),
    Layout("a python step without a config", config_less_python, ECHOED),
    Layout("an ONNX graph without a config", config_less_onnx, LINEAR),
]


@pytest.mark.parametrize("layout", RIGHT, ids=lambda layout: layout.says)
def test_the_right_model_answers(multi, layout):
    model, url = multi.place(layout.build)
    loaded = multi.load(model, url, f"{model}.tar.gz")
    assert loaded.status_code == 200, loaded.text
    answer = multi.invoke(model)
    assert outputs(answer)["OUTPUT0"] == pytest.approx(layout.answer, rel=1e-5)
    assert answer.json()["model_version"] == "1"
    multi.let_go(model)


def two_models(root):
    onnx_linear(root / "left")
    python_echo(root / "right")


def two_ensembles(root):
    linear_pipeline(root)
    chain_ensemble(root / "second", ["encoder", "head"], output_dims=[2])


@pytest.mark.parametrize(("build", "names"), [(two_models, ("left", "right")), (two_ensembles, ("pipeline", "second"))])
def test_an_archive_that_could_mean_two_models_is_refused_with_their_names(multi, build, names):
    model, url = multi.place(build)
    answer = multi.load(model, url)
    assert answer.status_code == 400
    assert all(name in answer.json()["error"] for name in names)


def test_a_linked_folder_is_never_taken_for_the_model(multi, tmp_path):
    onnx_linear(tmp_path / "elsewhere", seed=9)
    model, url = multi.place(nested)
    (url / "zzz").symlink_to(tmp_path / "elsewhere")
    loaded = multi.load(model, url)
    assert loaded.status_code in (200, 400)
    if loaded.status_code == 200:
        assert outputs(multi.invoke(model))["OUTPUT0"] == pytest.approx(LINEAR, rel=1e-5)
        multi.let_go(model)


def test_equal_names_inside_two_archives_do_not_meet(multi):
    """Namespacing: both hold `encoder`, `head` and `pipeline`, and answer with their own, also after an unload."""
    ids = {}
    for seed in (20, 40):
        model, url = multi.place(lambda root, seed=seed: linear_pipeline(root, encoder_seed=seed, head_seed=seed + 1))
        assert multi.load(model, url, f"twin-{seed}.tar.gz").status_code == 200
        ids[seed] = model
    for seed in (20, 40, 20):
        expected = linear_pipeline_answer(ONES, encoder_seed=seed, head_seed=seed + 1).ravel().tolist()
        assert outputs(multi.invoke(ids[seed]))["OUTPUT0"] == pytest.approx(expected, rel=1e-5)
    assert multi.unload(ids[20]).status_code == 200
    expected = linear_pipeline_answer(ONES, encoder_seed=40, head_seed=41).ravel().tolist()
    assert outputs(multi.invoke(ids[40]))["OUTPUT0"] == pytest.approx(expected, rel=1e-5)
    multi.let_go(ids[40])
