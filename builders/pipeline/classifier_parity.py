"""Proof that a classifier's archive scores as transformers' pipelines do; a build that cannot give it fails."""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from builders.checkpoints.nli import NliCheckpoint
from builders.checkpoints.sentence_transformers import weights_sha256
from builders.checkpoints.sequence_classification import INPUTS, ClassifierCheckpoint, load
from builders.export.sequence_classifier import LOGITS, SCORES
from builders.pipeline.classifier_step import ClassifierStep
from builders.pipeline.extras import need
from builders.pipeline.parity import ParityFailed
from builders.pipeline.versions import made_with
from builders.python_steps.tokenize import logic as tokenize_logic
from builders.python_steps.zero_shot import logic
from builders.python_steps.zero_shot.pairs import Tokens
from builders.python_steps.zero_shot.scoring import Limits, Scorer
from builders.triton_config.accelerated import Precision

Floats: TypeAlias = npt.NDArray[np.float32]
MAX_ERROR: dict[Precision, float] = {"fp32": 1e-5, "fp16": 1e-2, "int8": 1e-1}
"""Of a score, which lies between 0 and 1."""

TEXTS = (
    "I have a problem with my phone that needs to be resolved as soon as possible!",
    "",
    "a",
    "Ein Rundlokschuppen hält viele Lokomotiven um eine Drehscheibe bereit. </s> [SEP]",
    "機関庫には多くの機関車がある。 🚂",
    "Numbers 1,234.56 and symbols #@!? \t tabs\nnewlines",
    "word " * 1200,
)
"""Lengths from nothing to over every limit, scripts, and words that look like special tokens."""

_LONG = 1000
LABELS = ("urgent", "not urgent", "phone", "Küche und Kochen", "computer", "phone")
TEMPLATES = (logic.DEFAULT_TEMPLATE, "{}", "Der Text handelt von {{etwas}} {0}.")


def check_zero_shot(
    checkpoint: NliCheckpoint, step: ClassifierStep, tokens: Tokens, precision: Precision
) -> dict[str, Any]:
    """Compare with the `zero-shot-classification` pipeline; returns the figures.

    All questions are scored together, as requests that are in flight at the same time, and the reference's one by one.

    Raises:
        ParityFailed: a score, or a place in the order of the labels, differs by more than `MAX_ERROR`.
    """
    classifier = checkpoint.classifier
    scorer = Scorer(tokens, checkpoint.entailment, checkpoint.contradiction, Limits(8, 2048))
    questions = list(_questions(checkpoint))
    asked = [
        [logic.Row(text, tuple(label.join(logic.split_template(template)) for label in labels), is_multi)]
        for text, labels, template, is_multi in questions
    ]
    outcomes = scorer.score(asked, run_pairs(step))
    reference = _pipeline("zero-shot-classification", classifier)
    worst = 0.0
    for (text, labels, template, is_multi), outcome in zip(questions, outcomes, strict=True):
        if not isinstance(outcome, np.ndarray):
            raise ParityFailed(f"the archive fails on {text[:40]!r}: {outcome}")
        expected = reference([text], list(labels), hypothesis_template=template, multi_label=is_multi)[0]
        ours = outcome[0][np.argsort(outcome[0])[::-1]]
        worst = max(worst, float(np.abs(ours - np.array(expected["scores"])).max()))
        by_label = {label: float(score) for label, score in zip(labels, outcome[0], strict=True)}
        off = [
            abs(by_label[label] - score) for label, score in zip(expected["labels"], expected["scores"], strict=True)
        ]
        worst = max(worst, *off)
    return _judged(worst, len(questions), precision)


def _questions(checkpoint: NliCheckpoint) -> Iterator[tuple[str, Sequence[str], str, bool]]:
    """Text, labels, template, multi_label. Where transformers would take another class for contradiction: no multi."""
    for text in filter(None, TEXTS):  # the reference refuses the empty text
        is_long = len(text) > _LONG  # a large model takes seconds for each label of it
        yield text, LABELS[:2] if is_long else LABELS, TEMPLATES[0], False
        if checkpoint.is_read_alike_by_transformers and not is_long:
            yield text, LABELS[:3], TEMPLATES[0], True
    for template in TEMPLATES[1:]:
        yield TEXTS[0], LABELS[:2], template, False
    if checkpoint.is_read_alike_by_transformers:
        yield TEXTS[0], LABELS[:1], TEMPLATES[0], False


def check_classifier(
    checkpoint: ClassifierCheckpoint, step: ClassifierStep, tokenizer: Path, precision: Precision
) -> dict[str, Any]:
    """Compare with the `text-classification` pipeline: all texts as one padded batch, and text by text.

    `tokenizer` is the tokenize step's version folder. Raises ParityFailed.
    """
    loaded = tokenize_logic.load(tokenizer)
    run = _session(step)

    def scores(texts: list[str]) -> Floats:
        arrays = dict(zip(INPUTS, tokenize_logic.tokenize(loaded, texts), strict=True))
        return run(arrays, SCORES)

    batched, single = scores(list(TEXTS)), np.concatenate([scores([text]) for text in TEXTS])
    reference = _pipeline("text-classification", checkpoint)
    expected = np.empty_like(batched)
    for row, answers in enumerate(reference(list(TEXTS), top_k=None, truncation=True)):
        by_label = {answer["label"]: answer["score"] for answer in answers}
        expected[row] = [by_label[label] for label in checkpoint.labels]
    scale = max(1.0, float(np.abs(expected).max()))  # a regression's numbers can be large
    worst = max(float(np.abs(batched - expected).max()), float(np.abs(single - expected).max())) / scale
    return _judged(worst, len(TEXTS), precision)


def run_pairs(step: ClassifierStep) -> Callable[..., Floats]:
    """The NLI step by hand."""
    run = _session(step)

    def run_nli(ids: Any, mask: Any, types: Any) -> Floats:
        return run({"input_ids": ids, "attention_mask": mask, "token_type_ids": types}, LOGITS)

    return run_nli


def provenance(checkpoint: ClassifierCheckpoint, options: dict[str, Any]) -> dict[str, Any]:
    """Where an archive comes from: model, weights, licence, labels, options, versions of what made it."""
    return {
        "model": checkpoint.name,
        "architecture": checkpoint.architecture,
        "weights_sha256": weights_sha256(checkpoint.folder),
        "licence": checkpoint.licence,
        "labels": list(checkpoint.labels),
        "max_length": checkpoint.max_length,
        "options": options,
        "made_with": made_with("torch", "transformers", "tokenizers", "onnx", "onnxruntime"),
    }


def _session(step: ClassifierStep) -> Callable[[dict[str, Any], str], Floats]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(step.graph), options, providers=["CPUExecutionProvider"])

    def run(arrays: dict[str, Any], output: str) -> Floats:
        found: Floats = session.run([output], {name: arrays[name] for name in step.inputs})[0]
        return found

    return run


def _pipeline(task: str, checkpoint: ClassifierCheckpoint) -> Any:
    transformers = need("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint.folder)
    tokenizer.model_max_length = checkpoint.max_length
    return transformers.pipeline(task, model=load(checkpoint), tokenizer=tokenizer, device="cpu")


def _judged(worst: float, probes: int, precision: Precision) -> dict[str, Any]:
    most = MAX_ERROR[precision]
    if not worst <= most:  # NaN fails too
        raise ParityFailed(f"the archive's scores differ from transformers' by {worst:.2e}; at most {most} is allowed")
    return {
        "reference": f"transformers {version('transformers')}",
        "probes": probes,
        "max_abs_error": float(f"{worst:.3g}"),
        "allowed": most,
    }
