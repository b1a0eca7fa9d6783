"""Which of a checkpoint's labels says that a hypothesis follows, and what is refused."""

import json
import shutil

import pytest

from builders.checkpoints import nli, random_classifier, sequence_classification
from builders.checkpoints.files import UnusableCheckpoint
from builders.checkpoints.random_classifier import RandomClassifier
from tests.fakes import classifier_archives as archives

pytestmark = pytest.mark.builders


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("contradiction", "neutral", "entailment"), (2, 0)),  # facebook/bart-large-mnli
        (("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), (2, 0)),  # roberta-large-mnli
        (("contradiction", "entailment", "neutral"), (1, 0)),  # cross-encoder/nli-deberta-v3-base
        (("entailment", "neutral", "contradiction"), (0, 2)),  # MoritzLaurer/DeBERTa-v3-base-mnli-fever-anli
        (("entailment", "not_entailment"), (0, 1)),  # MoritzLaurer/deberta-v3-base-zeroshot-v2.0
        (("not-entailment", "Entailment"), (1, 0)),
        (("neutral", "contradiction", "entailment"), (2, 1)),
    ],
)
def test_the_labels_decide(labels, expected):
    assert nli.class_ids(labels, "m") == expected


@pytest.mark.parametrize(
    ("labels", "missing"),
    [
        (("LABEL_0", "LABEL_1", "LABEL_2"), "entailment"),
        (("entailment", "neutral"), r"contradiction \(or not_entailment\)"),
        (("entailment", "entails", "contradiction"), "entailment"),
        ((), "entailment"),
    ],
)
def test_labels_that_do_not_tell_are_refused(labels, missing):
    with pytest.raises(UnusableCheckpoint, match=rf"must be {missing}, and they are .*write id2label"):
        nli.class_ids(labels, "m")


def test_a_checkpoint_that_transformers_would_misread_is_known():
    classifier = nli.read(str(archives.nli_checkpoint())).classifier
    assert nli.NliCheckpoint(classifier, 2, 0).is_read_alike_by_transformers
    assert not nli.NliCheckpoint(classifier, 2, 1).is_read_alike_by_transformers


@pytest.mark.parametrize(
    ("architecture", "inputs"),
    [
        ("bart", ("input_ids", "attention_mask")),
        ("roberta", ("input_ids", "attention_mask")),
        ("deberta", ("input_ids", "attention_mask", "token_type_ids")),
    ],
)
def test_the_checkpoint_s_own_files_decide(architecture, inputs):
    found = sequence_classification.read(str(archives.nli_checkpoint(architecture)))
    assert (found.inputs, found.max_length, found.function) == (inputs, 128, "softmax")
    assert found.labels == random_classifier.NLI_LABELS[architecture]


@pytest.fixture
def changed(tmp_path):
    """A checkpoint whose config.json says something else."""

    def change(**settings):
        folder = shutil.copytree(archives.checkpoint("roberta", archives.MOODS), tmp_path / "changed")
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
        return str(folder)

    return change


@pytest.mark.parametrize(
    ("problem", "function"),
    [("regression", "none"), ("multi_label_classification", "sigmoid"), ("single_label_classification", "softmax")],
)
def test_the_problem_type_decides_about_the_function(changed, problem, function):
    assert sequence_classification.read(changed(problem_type=problem)).function == function


def test_a_model_without_a_classifier_is_refused(changed):
    with pytest.raises(UnusableCheckpoint, match=r"\['RobertaModel'\], not a \.\.\.ForSequenceClassification"):
        sequence_classification.read(changed(architectures=["RobertaModel"]))


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(UnusableCheckpoint, match="is not a checkpoint that transformers reads"):
        sequence_classification.read(str(tmp_path))


@pytest.mark.parametrize("name", ["no-such-model", "./no/such", "a/b/c"])
def test_a_name_that_is_nothing_is_explained(name):
    with pytest.raises(UnusableCheckpoint, match="neither a folder nor a hub id"):
        sequence_classification.locate(name)


def test_the_same_seed_gives_the_same_checkpoint(tmp_path):
    folders = [
        random_classifier.write(RandomClassifier("deberta", "tiny", seed, ("a", "b")), tmp_path / str(number))
        for number, seed in enumerate([1, 1, 2])
    ]
    one, same, other = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert one == same != other
    assert len({(folder / "tokenizer.json").read_bytes() for folder in folders}) == 1
