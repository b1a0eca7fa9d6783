"""Text classification with any sequence-classification checkpoint, alone or as a cascade of two.

    entry (ensemble)                 entry (Python, BLS)
    ├── tokenize (Python)            ├── first  (an ensemble as on the left)
    └── classifier (ONNX)            └── second (another one), for the texts where the first fires

A cascade asks a small model about every text, and a fine-grained one only where it says so. Its stages are the same
steps as in archives of their own, and shared with them (equal digests).

Reference: transformers' `text-classification` pipeline; the build fails where a stage differs from it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from builders.checkpoints import random_classifier, sequence_classification
from builders.checkpoints.random_classifier import RandomClassifier
from builders.checkpoints.sequence_classification import ClassifierCheckpoint
from builders.compile.archive_plans import compile_steps, require_compiler
from builders.compile.tensorrt_plan import PlanOptions
from builders.export.sequence_classifier import LOGITS, SCORES
from builders.pipeline import classifier_parity, classifier_step
from builders.pipeline import folder as pipeline
from builders.pipeline.classifier_step import ClassifierStep, Compute
from builders.pipeline.extras import need
from builders.pipeline.progress import stage
from builders.triton_config import model as triton
from server.archive.manifest import Manifest

TASK = "text-classification"


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint, or random weights where `model` is None."""

    model: str | None = None
    random: RandomClassifier = field(default_factory=RandomClassifier)


@dataclass(frozen=True, slots=True)
class Second:
    """A cascade's second stage: it runs where the first model's score of the label `fires` reaches `threshold`."""

    source: Source
    fires: str
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose."""

    source: Source = field(default_factory=Source)
    second: Second | None = None
    name: str = "text-classification"
    compute: Compute = field(default_factory=Compute)
    is_measured: bool = True


@dataclass(frozen=True, slots=True)
class _Stage:
    """One classifier with its tokenizer, as an ensemble of the archive."""

    checkpoint: ClassifierCheckpoint
    step: ClassifierStep
    step_name: str
    parity: dict[str, Any]


def build(options: Options, to: Path) -> Path:
    """Build the archive `to`; returns its path.

    Raises:
        UnusableCheckpoint, MissingExtra, click.UsageError: before anything is written.
        ParityFailed: a stage would not equal its reference; nothing is left behind.
        PlanFailed, NoUsableGpu: TensorRT cannot compile the classifiers here.
    """
    where = options.compute.where
    require_compiler(where)
    with pipeline.work_folder(to.parent) as work:
        root = work / "archive"
        checkpoint = _checkpoint(options.source, work / "random-first")
        if options.second is None:
            stages = [_stage(checkpoint, options, options.name, "", root, work)]
        else:
            fires = _fires(checkpoint, options.second)
            fine = _checkpoint(options.second.source, work / "random-second")
            stages = [
                _stage(checkpoint, options, "first", "first_", root, work),
                _stage(fine, options, "second", "second_", root, work),
            ]
            _cascade(options, options.second, fires, stages, root)
        manifest = _manifest(options, stages)
        if where.is_plan:
            manifest = compile_steps(root, manifest, PlanOptions())
        return pipeline.finish(root, manifest, to)


def _checkpoint(source: Source, beside: Path) -> ClassifierCheckpoint:
    if source.model is not None:
        return sequence_classification.read(source.model)
    wanted = source.random
    with stage(f"random weights ({wanted.architecture}, {wanted.size}, seed {wanted.seed})"):
        folder = beside / f"random-{wanted.architecture}-{wanted.size}-{wanted.seed}"
        return sequence_classification.read(str(random_classifier.write(wanted, folder)))


def _fires(checkpoint: ClassifierCheckpoint, second: Second) -> int:
    if second.fires not in checkpoint.labels:
        raise click.UsageError(
            f"--fires {second.fires!r} is not a label of the first model; its labels: {', '.join(checkpoint.labels)}"
        )
    return checkpoint.labels.index(second.fires)


def _stage(
    checkpoint: ClassifierCheckpoint, options: Options, name: str, prefix: str, root: Path, work: Path
) -> _Stage:
    """Write tokenizer, classifier and the ensemble `name` over them."""
    step_name = f"{prefix}classifier"
    step = classifier_step.write(
        checkpoint,
        options.compute,
        step_name,
        root,
        work,
        function=checkpoint.function,
        is_measured=options.is_measured,
    )
    tokenizer = _tokenize_step(checkpoint, options, f"{prefix}tokenize", root)
    _ensemble(checkpoint, options, name, prefix, step, root)
    with stage(f"parity of {name} with transformers"):
        parity = classifier_parity.check_classifier(checkpoint, step, tokenizer, options.compute.precision)
    return _Stage(checkpoint, step, step_name, parity)


def _tokenize_step(checkpoint: ClassifierCheckpoint, options: Options, name: str, root: Path) -> Path:
    version = root / name / "1"
    pipeline.place_step_sources("tokenize", version)
    file = version / "tokenizer.json"
    sequence_classification.save_tokenizer(checkpoint, file)
    tokenizer = need("tokenizers").Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(checkpoint.max_length)
    tokenizer.enable_padding(pad_id=checkpoint.pad_id, pad_token=checkpoint.pad_token)
    tokenizer.save(str(file), pretty=False)
    config = triton.step_config(
        name=name,
        backend="python",
        inputs=[triton.Field("INPUT0", "TYPE_STRING", (1,))],
        outputs=[triton.Field(each, "TYPE_INT64", (triton.DYNAMIC,)) for each in sequence_classification.INPUTS],
        max_batch_size=options.compute.max_batch_size,
        parameters={"EXECUTION": "in-process"},
    )
    (root / name / "config.pbtxt").write_text(triton.text(config))
    return version


def _ensemble(
    checkpoint: ClassifierCheckpoint, options: Options, name: str, prefix: str, step: ClassifierStep, root: Path
) -> None:
    same = {each: each for each in step.inputs}
    config = triton.ensemble_config(
        name=name,
        inputs=[triton.Field("TEXT", "TYPE_STRING", (1,))],
        outputs=_outputs(checkpoint, "", "labels.txt"),
        max_batch_size=options.compute.max_batch_size,
        steps=[
            triton.EnsembleStep(f"{prefix}tokenize", {"INPUT0": "TEXT"}, same),
            triton.EnsembleStep(f"{prefix}classifier", same, {SCORES: "SCORES", LOGITS: "LOGITS"}),
        ],
    )
    _write_entry(config, root / name, {"labels.txt": checkpoint.labels})
    pipeline.place_empty_version(root / name)


def _cascade(options: Options, second: Second, fires: int, stages: list[_Stage], root: Path) -> None:
    first, fine = (each.checkpoint for each in stages)
    pipeline.place_step_sources("cascade", root / options.name / "1")
    config = triton.step_config(
        name=options.name,
        backend="python",
        inputs=[triton.Field("TEXT", "TYPE_STRING", (1,))],
        outputs=[
            *_outputs(first, "", "labels.txt"),
            *_outputs(fine, "FINE_", "fine_labels.txt"),
            triton.Field("FIRED", "TYPE_BOOL", (1,)),
        ],
        max_batch_size=options.compute.max_batch_size,
        parameters={
            "EXECUTION": "in-process",
            "CALLS": "first,second",
            "FIRES_ID": str(fires),
            "THRESHOLD": repr(second.threshold),
        },
        instances=2,  # it waits for its stages most of the time
    )
    _write_entry(config, root / options.name, {"labels.txt": first.labels, "fine_labels.txt": fine.labels})


def _outputs(checkpoint: ClassifierCheckpoint, prefix: str, label_file: str) -> list[triton.Field]:
    classes = (len(checkpoint.labels),)
    return [
        triton.Field(f"{prefix}SCORES", "TYPE_FP32", classes, label_filename=label_file),
        triton.Field(f"{prefix}LOGITS", "TYPE_FP32", classes),
    ]


def _write_entry(config: Any, folder: Path, labels: dict[str, tuple[str, ...]]) -> None:
    (folder / "1").mkdir(parents=True, exist_ok=True)
    for file, names in labels.items():
        (folder / file).write_text("".join(f"{' '.join(name.split())}\n" for name in names), encoding="utf-8")
    (folder / "config.pbtxt").write_text(triton.text(config))


def _manifest(options: Options, stages: list[_Stage]) -> Manifest:
    facts = [classifier_parity.provenance(each.checkpoint, options.compute.as_facts()) for each in stages]
    described = f"{stages[0].checkpoint.name}: {len(stages[0].checkpoint.labels)} labels, {options.compute.precision}"
    whole = facts[0]
    parity = stages[0].parity
    if options.second is not None:
        described += f"; {stages[1].checkpoint.name} where {options.second.fires!r} reaches {options.second.threshold}"
        whole = {"first": facts[0], "second": facts[1]}
        whole |= {"fires": options.second.fires, "threshold": options.second.threshold}
        parity = {"first": stages[0].parity, "second": stages[1].parity}
    return Manifest(
        task=TASK,
        entry_model=options.name,
        description=described,
        provenance=whole,
        parity=parity,
        latency={each.step_name: each.step.latency for each in stages if each.step.latency},
        steps={each.step_name: each.step.facts for each in stages if each.step.facts},
    )
