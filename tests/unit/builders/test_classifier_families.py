"""Zero-shot and text classification are built the same each time, equal transformers, and refuse with reasons."""

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from builders.checkpoints import nli
from builders.checkpoints.files import UnusableCheckpoint
from builders.checkpoints.random_classifier import RandomClassifier
from builders.cli import build as build_command
from builders.families import text_classification, zero_shot_classification
from builders.pipeline import classifier_parity
from builders.pipeline.classifier_step import ClassifierStep, Compute
from builders.pipeline.parity import ParityFailed
from builders.python_steps.cascade import logic as cascade_logic
from builders.python_steps.zero_shot.pairs import Tokens
from server.archive.inspection import inspect
from tests.fakes import classifier_archives as archives

pytestmark = pytest.mark.builders


def digests(root):
    return {step.name: step.digest for step in inspect(root).steps}


def manifest(root):
    return json.loads((root / "roundhouse.json").read_text())


@pytest.mark.parametrize("architecture", ["bart", "deberta"])
def test_zero_shot_is_built_the_same_twice_and_equals_the_reference(tmp_path, architecture):
    options = zero_shot_classification.Options(
        random=RandomClassifier(architecture), name=f"zero-shot-{architecture}", is_measured=False
    )
    again = zero_shot_classification.build(options, tmp_path / "again")
    assert digests(again) == digests(archives.zero_shot(architecture))
    said = manifest(again)
    assert (said["task"], said["entry_model"]) == ("zero-shot-classification", f"zero-shot-{architecture}")
    assert 0 < said["parity"]["max_abs_error"] <= 1e-5


def test_a_cascade_shares_its_stages_with_archives_of_their_own(tmp_path):
    alone = text_classification.Options(
        text_classification.Source(str(archives.checkpoint("bart", archives.SPAM, seed=3))), is_measured=False
    )
    single = digests(text_classification.build(alone, tmp_path / "single"))
    cascade = digests(archives.spam())
    assert cascade["first_classifier"] == single["classifier"]
    assert cascade["first_tokenize"] == single["tokenize"]
    assert cascade["second_classifier"] != single["classifier"]
    said = manifest(archives.spam())
    assert said["parity"]["first"]["max_abs_error"] <= 1e-5
    assert said["parity"]["second"]["max_abs_error"] <= 1e-5
    assert (said["provenance"]["fires"], said["task"]) == ("spam", "text-classification")


def test_a_model_that_is_no_nli_model_is_refused_and_leaves_nothing(tmp_path):
    options = zero_shot_classification.Options(str(archives.checkpoint("roberta", archives.MOODS)))
    with pytest.raises(UnusableCheckpoint, match="no natural language inference model"):
        zero_shot_classification.build(options, tmp_path / "out" / "m")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_that_differs_from_its_reference_is_refused():
    """The other seed's graph stands for an export that went wrong."""
    root = archives.zero_shot()
    checkpoint = nli.read(str(archives.checkpoint("bart", ("contradiction", "neutral", "entailment"), seed=9)))
    step = ClassifierStep(root / "nli" / "1" / "model.onnx", checkpoint.classifier.inputs, {}, {})
    tokens = Tokens(root / "zero-shot-bart" / "1", checkpoint.classifier.max_length, checkpoint.classifier.pad_id)
    with pytest.raises(ParityFailed, match=r"scores differ from transformers' by \S+; at most 1e-05"):
        classifier_parity.check_zero_shot(checkpoint, step, tokens, "fp32")


def test_a_label_that_the_first_model_lacks_is_refused(tmp_path):
    source = text_classification.Source(str(archives.checkpoint("roberta", archives.MOODS)))
    options = text_classification.Options(source, text_classification.Second(source, "angry"), is_measured=False)
    with pytest.raises(
        click.UsageError, match="'angry' is not a label of the first model; its labels: sad, calm, glad"
    ):
        text_classification.build(options, tmp_path / "m")


@pytest.mark.parametrize("compute", [Compute("int8", "gpu"), Compute("fp16", "cpu"), Compute(accelerator="tensorrt")])
def test_choices_that_do_not_go_together(tmp_path, compute):
    with pytest.raises(click.UsageError):
        zero_shot_classification.build(zero_shot_classification.Options(compute=compute), tmp_path / "m")


def test_a_gpu_archive_is_written_here(tmp_path):
    options = zero_shot_classification.Options(
        random=RandomClassifier("roberta"), name="on-gpu", compute=Compute("fp16", "gpu"), is_measured=False
    )
    root = zero_shot_classification.build(options, tmp_path / "on-gpu")
    assert "KIND_GPU" in (root / "nli" / "config.pbtxt").read_text()
    assert "KIND_CPU" in (root / "on-gpu" / "config.pbtxt").read_text()
    assert manifest(root)["steps"]["nli"]["profile"]["input_ids"]["max"] == [64, 128]


def test_int8_is_smaller_and_close(tmp_path):
    options = text_classification.Options(
        text_classification.Source(str(archives.checkpoint("roberta", archives.MOODS))),
        compute=Compute("int8"),
        is_measured=False,
    )
    said = manifest(text_classification.build(options, tmp_path / "m"))
    assert 0 < said["parity"]["max_abs_error"] <= said["parity"]["allowed"] == 0.1


def run(*arguments):
    return CliRunner().invoke(build_command, [str(each) for each in arguments])


def test_the_commands_build(tmp_path):
    zero_shot = run(
        "zero-shot-classification", "--weights", "random", "--architecture", "roberta", "--no-measure",
        "-o", tmp_path / "z.tar.gz",
    )  # fmt: skip
    assert zero_shot.exit_code == 0, zero_shot.output
    cascade = run(
        "text-classification", "--weights", "random", "--labels", "a,b", "--second-labels", "c,d,e", "--fires", "b",
        "--name", "both", "--no-measure", "-o", tmp_path / "both",
    )  # fmt: skip
    assert cascade.exit_code == 0, cascade.output
    assert Path(tmp_path, "both", "both", "fine_labels.txt").read_text() == "c\nd\ne\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zero-shot-classification"], "--model is missing"),
        (["zero-shot-classification", "--weights", "random", "--model", "x"], "leave --model out"),
        (["text-classification", "--model", "x", "--second", "y"], "--fires is missing"),
        (["text-classification", "--weights", "random"], "at least two labels"),
        (["text-classification", "--model", "no-such-model"], "neither a folder nor a hub id"),
    ],
)
def test_commands_that_cannot_work_say_why(tmp_path, arguments, message):
    result = run(*arguments, "-o", tmp_path / "m")
    assert result.exit_code != 0
    assert message in result.output


def test_only_the_rows_that_fire_get_fine_scores():
    scores = np.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]], np.float32)
    rows = cascade_logic.fired(scores, 1, 0.5)
    assert rows.tolist() == [False, True, True]
    fine = {"SCORES": np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)}
    (spread,) = cascade_logic.spread(rows, fine, ["SCORES"], 2)
    assert spread.tolist() == [[0, 0], [0.25, 0.75], [1, 0]]
    assert cascade_logic.spread(rows & False, {}, ["SCORES"], 2)[0].tolist() == [[0, 0]] * 3
