"""Checkpoints of image classifiers in the forms that torchvision and timm write, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch

from builders.architectures.inception_v3 import InceptionV3, random_weights
from builders.checkpoints.files import UnusableCheckpoint
from builders.checkpoints.image_classifier import labels, read
from builders.export.dali_pipeline import Preprocessing
from builders.families import image_classification
from builders.families.image_classification import Options
from builders.pipeline.image_parity import check_classifier
from builders.pipeline.parity import ParityFailed
from builders.triton_config.agreement import check_archive
from server.archive.manifest import read_manifest
from server.archive.model_config import parse

pytestmark = pytest.mark.builders

TINY = Options(name="tiny", weights="random", size="tiny", max_batch_size=2, is_measured=False)


def module(classes=7):
    return random_weights(InceptionV3(classes, width=1 / 16), 3).eval()


def picture():
    return torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


def saved(folder, form):
    """The same weights as torchvision, timm or a training script would write them."""
    state = module().state_dict()
    if form == "torchvision.pth":
        torch.save({**state, "AuxLogits.fc.weight": torch.zeros(7, 4)}, folder / form)
    elif form == "trained.pt":
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, folder / form)
    else:
        from safetensors.torch import save_file

        save_file(state, str(folder / form))
    return folder / form


@pytest.mark.parametrize(
    ("form", "is_folder"),
    [("torchvision.pth", False), ("trained.pt", False), ("model.safetensors", False), ("model.safetensors", True)],
)
def test_checkpoints_load(tmp_path, form, is_folder):
    file = saved(tmp_path, form)
    classifier = read("inception-v3", str(tmp_path if is_folder else file), size="tiny")
    with torch.no_grad():
        torch.testing.assert_close(classifier.module(picture()), module()(picture()))
    assert (classifier.classes, classifier.weights) == (7, form)


def test_what_timm_says_of_the_preprocessing_is_followed(tmp_path):
    saved(tmp_path, "model.safetensors")
    facts = {"pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    how = read("inception-v3", str(tmp_path), size="tiny").preprocessing
    assert (how.mean, how.std) == ((127.5, 102.0, 76.5), (51.0, 51.0, 25.5))


def test_the_full_network_has_the_weights_of_the_paper():
    network = InceptionV3()
    assert sum(each.numel() for each in network.parameters()) == 23_834_568  # torchvision's, without the auxiliary one
    assert {"Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch_pool.bn.running_var", "Mixed_6e.branch7x7dbl_5.conv.weight",
            "Mixed_7a.branch7x7x3_4.bn.bias", "Mixed_7c.branch3x3dbl_3b.conv.weight", "fc.bias"} <= set(network.state_dict())  # fmt: skip


def test_the_same_seed_gives_the_same_weights_and_answers_that_depend_on_the_picture():
    first, second, other = (read("inception-v3", "random", seed=seed, size="tiny") for seed in (1, 1, 2))
    assert first.weights_sha256 == second.weights_sha256 != other.weights_sha256
    with torch.no_grad():
        logits = first.module(torch.cat([picture(), -picture()]))
    assert (logits[0] - logits[1]).abs().max() > 0.5


@pytest.mark.parametrize(
    ("architecture", "weights", "size", "words"),
    [
        ("inception-v3", "packaged", "full", "--weights FILE"),
        ("inception-v3", "no/such/file.pth", "full", "no weights at"),
        ("efficientnet-lite0", "packaged", "tiny", "no --size tiny"),
    ],
)
def test_what_is_missing_is_said(architecture, weights, size, words):
    with pytest.raises(UnusableCheckpoint, match=words):
        read(architecture, weights, size=size)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    with pytest.raises(UnusableCheckpoint, match=r"not a checkpoint of efficientnet-lite0.*missing.*unknown"):
        read("efficientnet-lite0", str(saved(tmp_path, "torchvision.pth")))


def test_a_file_that_holds_no_weights_is_refused(tmp_path):
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(UnusableCheckpoint, match="cannot be read as weights"):
        read("inception-v3", str(tmp_path / "junk.pth"))


def test_labels(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("cat\ndog\n")
    assert labels(file, classes=2, shown=2, is_imagenet=False) == ["cat", "dog"]
    assert labels(file, classes=2, shown=3, is_imagenet=False) == ["background", "cat", "dog"]
    assert labels(None, classes=2, shown=2, is_imagenet=False) == ["class 0", "class 1"]
    assert labels(None, classes=1000, shown=1001, is_imagenet=True)[286] == "Egyptian cat"
    with pytest.raises(UnusableCheckpoint, match="has 2 lines"):
        labels(file, classes=5, shown=5, is_imagenet=False)


def test_an_impossible_number_of_classes_is_refused(tmp_path):
    with pytest.raises(UnusableCheckpoint, match=r"--classes 5.*1001"):
        image_classification.build(replace(TINY, classes=5), tmp_path / "no.tar.gz")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_for_a_gpu_is_complete_and_its_configs_fit(tmp_path):
    root = image_classification.build(replace(TINY, target="gpu"), tmp_path / "gpu")
    assert check_archive(root)
    assert b"mixed" in (root / "preprocess" / "1" / "model.dali").read_bytes()
    for step in ("preprocess", "classifier"):
        assert "KIND_GPU" in (root / step / "config.pbtxt").read_text()


def test_one_checkpoint_in_two_shapes_never_meets_in_one_cached_engine(tmp_path):
    on_gpu = replace(TINY, target="gpu", accelerator="onnxruntime-tensorrt")
    classes = read("inception-v3", "random", size="tiny").classes
    prefixes = set()
    for shown in (classes, classes + 1):
        root = image_classification.build(replace(on_gpu, classes=shown), tmp_path / str(shown))
        config = parse((root / "classifier" / "config.pbtxt").read_text())
        (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
        prefixes.add(accelerator.parameters["trt_engine_cache_prefix"])
        assert [sample.batch_size for sample in config.model_warmup] == [1, 2]
        manifest = read_manifest(root)
        assert manifest is not None
        assert manifest.steps["classifier"]["profile"]["IMAGE"]["max"] == [2, 96, 96, 3]
        assert manifest.provenance["options"]["accelerator"] == "onnxruntime-tensorrt"
    assert len(prefixes) == 2


def test_a_build_that_differs_from_its_reference_is_refused(tmp_path):
    wrong = replace(
        read("inception-v3", "random", size="tiny"), preprocessing=Preprocessing(96, (0, 0, 0), (255, 255, 255))
    )
    graph = image_classification.build(TINY, tmp_path / "tiny") / "classifier" / "1" / "model.onnx"
    pipeline = tmp_path / "tiny" / "preprocess" / "1" / "model.dali"
    with pytest.raises(ParityFailed, match="pixels differ from Pillow's"):
        check_classifier(wrong, graph, pipeline, source="INPUT", has_background=False)
    other = read("inception-v3", "random", seed=9, size="tiny")
    with pytest.raises(ParityFailed, match="log-probabilities differ"):
        check_classifier(other, graph, pipeline, source="INPUT", has_background=False)
