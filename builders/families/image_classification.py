"""Pictures in, probabilities of classes out: DALI preprocessing in front of a convolutional network.

    INPUT UINT8 [-1] (an encoded picture) -> preprocess (dali) -> classifier (ONNX) -> OUTPUT FP32 [classes]

Pictures of one request may differ in size; shorter files are filled up with zeros behind their end. OUTPUT has a label
file, so that the classification extension answers names. Reference: the checkpoint's own torch module, on pictures that
Pillow decodes and resizes; the build fails where the archive differs from it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from builders.checkpoints import image_classifier
from builders.checkpoints.files import UnusableCheckpoint
from builders.checkpoints.image_classifier import ImageClassifier, Size
from builders.compile.archive_plans import compile_steps, require_compiler
from builders.compile.tensorrt_plan import PlanOptions
from builders.export import dali_pipeline, optimise, torch_onnx
from builders.pipeline import folder as pipeline
from builders.pipeline.content_key import content_key
from builders.pipeline.extras import need
from builders.pipeline.image_parity import check_classifier
from builders.pipeline.measure_graph import MeasuredGraph, measure_graph
from builders.pipeline.progress import stage
from builders.pipeline.versions import made_with
from builders.triton_config import accelerated
from builders.triton_config import model as triton
from builders.triton_config.agreement import check_agreement
from builders.triton_config.dali import dali_config
from builders.triton_config.profile import Profile, as_facts, profile_of
from server.archive.manifest import Manifest

TASK = "image-classification"
INPUT, OUTPUT, TENSOR = "INPUT", "OUTPUT", "IMAGE"
PREPROCESS, CLASSIFIER = "preprocess", "classifier"
LABELS = "labels.txt"


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose. `classes` None: as many as the network has; one more: a background class in front."""

    name: str = "inception"
    architecture: str = "inception-v3"
    weights: str = image_classifier.PACKAGED
    seed: int = 0
    size: Size = "full"
    classes: int | None = None
    labels: Path | None = None
    target: triton.Target = "cpu"
    max_batch_size: int = 16
    is_measured: bool = True
    accelerator: accelerated.Accelerator | None = None
    """How a GPU runs the network; `None` is the default one, and the only choice on a CPU."""

    @property
    def where(self) -> accelerated.Placement:
        """Raises click.UsageError where target and accelerator do not go together."""
        return accelerated.placement(self.target, self.accelerator)


def build(options: Options, to: Path) -> Path:
    """Build the archive `to`; returns its path.

    Raises:
        UnusableCheckpoint, MissingExtra, click.UsageError: before anything is written.
        ParityFailed: the archive would not equal the reference; nothing is left behind.
        PlanFailed, NoUsableGpu: TensorRT cannot compile the network here.
    """
    where = options.where
    require_compiler(where)
    with stage(f"weights of {options.architecture}"):
        classifier = image_classifier.read(options.architecture, options.weights, seed=options.seed, size=options.size)
    shown = _shown(classifier, options.classes)
    names = image_classifier.labels(
        options.labels,
        classes=classifier.classes,
        shown=shown,
        is_imagenet=classifier.classes == image_classifier.IMAGENET_CLASSES and options.weights != "random",
    )
    with pipeline.work_folder(to.parent) as work:
        root = work / "archive"
        with stage("preprocessing pipeline"):
            preprocess = _preprocess_step(classifier, options, root, work)
        graph, profile = _classifier_step(classifier, options, shown, root, work)
        _ensemble(options, names, root)
        with stage("parity with torch and Pillow"):
            parity = check_classifier(
                classifier, graph, preprocess, source=INPUT, has_background=shown > classifier.classes
            )
        measured = None
        if options.is_measured and options.target == "cpu":  # a CPU's figures say nothing about a GPU
            with stage("footprint and latency"):
                side = classifier.preprocessing.size
                measured = measure_graph(graph, {TENSOR: np.zeros((1, side, side, 3), np.float32)})
        manifest = _manifest(classifier, options, shown, parity, measured, profile)
        if where.is_plan:
            manifest = compile_steps(root, manifest, PlanOptions())
        return pipeline.finish(root, manifest, to)


def _shown(classifier: ImageClassifier, asked: int | None) -> int:
    if asked is None or asked == classifier.classes:
        return classifier.classes
    if asked == classifier.classes + 1:
        return asked
    raise UnusableCheckpoint(
        f"--classes {asked}: the network has {classifier.classes} classes; {classifier.classes + 1} adds a background"
    )


def _preprocess_step(classifier: ImageClassifier, options: Options, root: Path, work: Path) -> Path:
    """Write the DALI step; gives the same pipeline for the CPU, to compare it here."""
    side = classifier.preprocessing.size
    on_cpu, on_target = (
        dali_pipeline.classification_source(
            classifier.preprocessing, source=INPUT, max_batch_size=options.max_batch_size, device=device
        )
        for device in ("cpu", "mixed" if options.target == "gpu" else "cpu")
    )
    dali_pipeline.write(on_target, root / PREPROCESS / "1")
    config = dali_config(
        name=PREPROCESS,
        source=INPUT,
        outputs=[triton.Field(TENSOR, "TYPE_FP32", (side, side, 3))],
        max_batch_size=options.max_batch_size,
        target=options.target,
    )
    (root / PREPROCESS / "config.pbtxt").write_text(triton.text(config))
    return dali_pipeline.write(on_cpu, work / "on_cpu")


def _classifier_step(
    classifier: ImageClassifier, options: Options, shown: int, root: Path, work: Path
) -> tuple[Path, Profile]:
    """Write the network; gives its graph, and the shapes that a GPU must take, {} on a CPU."""
    version_folder = root / CLASSIFIER / "1"
    version_folder.mkdir(parents=True)
    side = classifier.preprocessing.size
    torch = need("torch")
    with stage("export the network to ONNX"):
        plain = torch_onnx.export(
            _module(torch, classifier.module, has_background=shown > classifier.classes),
            [torch.zeros(2, side, side, 3)],
            work / "plain.onnx",
            inputs=[TENSOR],
            outputs=[OUTPUT],
            dynamic_axes={TENSOR: {0: "batch"}, OUTPUT: {0: "batch"}},
        )
    with stage("optimise the graph"):
        graph = optimise.optimise(plain, version_folder, for_gpu=options.target == "gpu")
    inputs = [triton.Field(TENSOR, "TYPE_FP32", (side, side, 3))]
    profile = profile_of(inputs, options.max_batch_size, {}) if options.target == "gpu" else {}
    config = accelerated.graph_config(
        name=CLASSIFIER,
        inputs=inputs,
        outputs=[triton.Field(OUTPUT, "TYPE_FP32", (shown,))],
        max_batch_size=options.max_batch_size,
        where=options.where,
        profile=profile,
        cache_key=content_key(version_folder),
        graph_level=optimise.left_to_server(graph, for_gpu=options.target == "gpu"),
    )
    config.dynamic_batching.SetInParent()
    if profile:
        accelerated.with_profile_warmup(config, profile)
    else:
        triton.with_warmup(config, {TENSOR: (side, side, 3)})
    check_agreement(config, graph)
    (root / CLASSIFIER / "config.pbtxt").write_text(triton.text(config))
    return graph, profile


def _module(torch: Any, network: Any, *, has_background: bool) -> Any:
    """The network as a step: pictures as DALI gives them, probabilities as users read them."""

    class Classifier(torch.nn.Module):  # type: ignore[misc] # torch is imported late: the class cannot be seen by mypy
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Any) -> Any:
            scores = self.network(image.permute(0, 3, 1, 2)).softmax(1)
            return torch.nn.functional.pad(scores, (1, 0)) if has_background else scores

    return Classifier()


def _ensemble(options: Options, names: list[str], root: Path) -> None:
    config = triton.ensemble_config(
        name=options.name,
        inputs=[triton.Field(INPUT, "TYPE_UINT8", (triton.DYNAMIC,))],
        outputs=[triton.Field(OUTPUT, "TYPE_FP32", (len(names),), label_filename=LABELS)],
        max_batch_size=options.max_batch_size,
        steps=[
            triton.EnsembleStep(PREPROCESS, {INPUT: INPUT}, {TENSOR: "preprocessed"}),
            triton.EnsembleStep(CLASSIFIER, {TENSOR: "preprocessed"}, {OUTPUT: OUTPUT}),
        ],
    )
    pipeline.place_empty_version(root / options.name)
    (root / options.name / LABELS).write_text("\n".join(names) + "\n", "utf-8")
    (root / options.name / "config.pbtxt").write_text(triton.text(config))


def _manifest(
    classifier: ImageClassifier,
    options: Options,
    shown: int,
    parity: dict[str, Any],
    measured: MeasuredGraph | None,
    profile: Profile,
) -> Manifest:
    how = classifier.preprocessing
    facts: dict[str, Any] = {"profile": as_facts(profile)} if profile else {}
    if measured is not None:
        facts["footprint_bytes"] = {"cpu": measured.bytes}
    return Manifest(
        task=TASK,
        entry_model=options.name,
        description=f"{classifier.architecture} ({classifier.weights}): {shown} classes, {how.size}x{how.size}",
        provenance={
            "model": classifier.architecture,
            "weights": classifier.weights,
            "weights_sha256": classifier.weights_sha256,
            "options": {
                "size": options.size,
                "target": options.target,
                "max_batch_size": options.max_batch_size,
                **({"accelerator": options.where.accelerator} if options.target == "gpu" else {}),
            },
            "made_with": made_with("torch", "onnx", "onnxruntime", "nvidia-dali-cuda120", "pillow"),
        },
        parity=parity,
        latency={}
        if measured is None
        else {"load_ms": round(measured.load_s * 1e3, 1), "one_picture_p50_ms": round(measured.p50_s * 1e3, 2)},
        steps={CLASSIFIER: facts} if facts else {},
    )
