"""Archives of the text-classifier families with tiny random weights, built once per test run, and their references.

Needs the builders extra. A test that writes into an archive must copy it.
"""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from builders.checkpoints import random_classifier
from builders.checkpoints.random_classifier import NLI_LABELS, Architecture, RandomClassifier
from builders.families import text_classification, zero_shot_classification

MOODS = ("sad", "calm", "glad")
SPAM = ("ham", "spam")
TRICKS = ("lottery", "parcel", "romance", "tax")


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="classifier-archives-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def checkpoint(architecture: Architecture, labels: tuple[str, ...], seed: int = 0) -> Path:
    """A checkpoint folder with random weights."""
    to = _folder() / f"checkpoint-{architecture}-{len(labels)}-{seed}"
    return random_classifier.write(RandomClassifier(architecture, "tiny", seed, labels), to)


def nli_checkpoint(architecture: Architecture = "bart") -> Path:
    """A natural language inference checkpoint."""
    return checkpoint(architecture, NLI_LABELS[architecture])


@cache
def zero_shot(architecture: Architecture = "bart") -> Path:
    """A folder with the archive `zero-shot-<architecture>`."""
    name = f"zero-shot-{architecture}"
    options = zero_shot_classification.Options(str(nli_checkpoint(architecture)), name=name, is_measured=False)
    return zero_shot_classification.build(options, _folder() / name)


@cache
def moods() -> Path:
    """A folder with the archive `moods`: text classification, one stage."""
    source = text_classification.Source(str(checkpoint("roberta", MOODS)))
    return text_classification.build(
        text_classification.Options(source, name="moods", is_measured=False), _folder() / "moods"
    )


@cache
def spam(threshold: float = 0.5) -> Path:
    """A folder with the archive `spam`: a cascade, `ham` and `spam`, and what kind of spam."""
    second = text_classification.Second(
        text_classification.Source(str(checkpoint("deberta", TRICKS))), fires="spam", threshold=threshold
    )
    source = text_classification.Source(str(checkpoint("bart", SPAM, seed=3)))
    options = text_classification.Options(source, second, name="spam", is_measured=False)
    return text_classification.build(options, _folder() / "spam")


@cache
def pipeline(task: str, folder: Path) -> Any:
    """The reference: transformers' pipeline on a checkpoint."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    return transformers.pipeline(task, model=str(folder), device="cpu")
