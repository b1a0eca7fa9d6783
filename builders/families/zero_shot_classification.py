"""Zero-shot classification with any natural language inference checkpoint: text and labels in, a score per label out.

    entry (Python, BLS): tokenises texts and hypotheses, shares batches among all requests in flight, scores
    └── nli (ONNX): pairs of token ids to logits

Reference: transformers' `zero-shot-classification` pipeline; the build fails where the archive differs from it.
"""

from dataclasses import dataclass, field
from pathlib import Path

from builders.checkpoints import nli, random_classifier, sequence_classification
from builders.checkpoints.nli import NliCheckpoint
from builders.checkpoints.random_classifier import RandomClassifier
from builders.compile.archive_plans import compile_steps, require_compiler
from builders.compile.tensorrt_plan import PlanOptions
from builders.pipeline import classifier_parity, classifier_step
from builders.pipeline import folder as pipeline
from builders.pipeline.classifier_step import ClassifierStep, Compute
from builders.pipeline.progress import stage
from builders.python_steps.zero_shot.pairs import Tokens
from builders.triton_config import model as triton
from server.archive.manifest import Manifest

TASK = "zero-shot-classification"
_NLI = "nli"


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose.

    `model` is a checkpoint; None makes one with `random` weights. `max_texts` and `max_labels` limit one request;
    `batch_tokens` limits one NLI batch: rows times the longest pair's tokens.
    """

    model: str | None = None
    random: RandomClassifier = field(default_factory=RandomClassifier)
    name: str = "zero-shot"
    compute: Compute = field(default_factory=Compute)
    max_texts: int = 32
    max_labels: int = 2048
    batch_tokens: int = 4096
    is_measured: bool = True


def build(options: Options, to: Path) -> Path:
    """Build the archive `to`; returns its path.

    Raises:
        UnusableCheckpoint, MissingExtra, click.UsageError: before anything is written.
        ParityFailed: the archive would not equal the reference; nothing is left behind.
        PlanFailed, NoUsableGpu: TensorRT cannot compile the NLI model here.
    """
    where = options.compute.where
    require_compiler(where)
    with pipeline.work_folder(to.parent) as work:
        checkpoint = nli.read(options.model or _random_checkpoint(options, work))
        root = work / "archive"
        step = classifier_step.write(
            checkpoint.classifier, options.compute, _NLI, root, work, is_measured=options.is_measured
        )
        with stage("tokenizer"):
            tokens = _entry_step(checkpoint, options, step, root)
        with stage("parity with transformers"):
            parity = classifier_parity.check_zero_shot(checkpoint, step, tokens, options.compute.precision)
        manifest = _manifest(checkpoint, options, step, parity)
        if where.is_plan:
            manifest = compile_steps(root, manifest, PlanOptions())
        return pipeline.finish(root, manifest, to)


def _random_checkpoint(options: Options, work: Path) -> str:
    wanted = options.random
    labels = random_classifier.NLI_LABELS[wanted.architecture]
    named = RandomClassifier(wanted.architecture, wanted.size, wanted.seed, labels)
    with stage(f"random weights ({wanted.architecture}, {wanted.size}, seed {wanted.seed})"):
        return str(random_classifier.write(named, work / f"random-{wanted.architecture}-{wanted.size}-{wanted.seed}"))


def _entry_step(checkpoint: NliCheckpoint, options: Options, step: ClassifierStep, root: Path) -> Tokens:
    classifier = checkpoint.classifier
    version = root / options.name / "1"
    pipeline.place_step_sources("zero_shot", version)
    sequence_classification.save_tokenizer(classifier, version / "tokenizer.json")
    config = triton.step_config(
        name=options.name,
        backend="python",
        inputs=[
            triton.Field("TEXT", "TYPE_STRING", (1,)),
            triton.Field("LABELS", "TYPE_STRING", (triton.DYNAMIC,)),
            triton.Field("HYPOTHESIS_TEMPLATE", "TYPE_STRING", (1,), is_optional=True),
            triton.Field("MULTI_LABEL", "TYPE_BOOL", (1,), is_optional=True),
        ],
        outputs=[triton.Field("SCORES", "TYPE_FP32", (triton.DYNAMIC,))],
        max_batch_size=options.max_texts,
        parameters={
            "EXECUTION": "in-process",
            "CALLS": _NLI,
            "ENTAILMENT_ID": str(checkpoint.entailment),
            "CONTRADICTION_ID": str(checkpoint.contradiction),
            "MAX_LABELS": str(options.max_labels),
            "MAX_LENGTH": str(classifier.max_length),
            "NLI_INPUTS": ",".join(step.inputs),
            "NLI_ROWS": str(options.compute.max_batch_size),
            "NLI_TOKENS": str(max(options.batch_tokens, classifier.max_length)),
            "PAD_ID": str(classifier.pad_id),
        },
        instances=2,  # so that one request with a thousand labels does not hold up all others
    )
    config.dynamic_batching.SetInParent()
    for each in config.input:
        each.allow_ragged_batch = each.name == "LABELS"  # requests with different numbers of labels share batches
    (root / options.name / "config.pbtxt").write_text(triton.text(config))
    return Tokens(version, classifier.max_length, classifier.pad_id)


def _manifest(checkpoint: NliCheckpoint, options: Options, step: ClassifierStep, parity: dict[str, object]) -> Manifest:
    classifier = checkpoint.classifier
    chosen = {
        **options.compute.as_facts(),
        "max_texts": options.max_texts,
        "max_labels": options.max_labels,
        "batch_tokens": options.batch_tokens,
    }
    return Manifest(
        task=TASK,
        entry_model=options.name,
        description=f"{classifier.name}: a score for each label of your own, {options.compute.precision}",
        provenance=classifier_parity.provenance(classifier, chosen),
        parity=parity,
        latency=step.latency,
        steps={_NLI: step.facts} if step.facts else {},
    )
