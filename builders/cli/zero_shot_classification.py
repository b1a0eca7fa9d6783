"""`roundhouse build zero-shot-classification`."""

from pathlib import Path
from typing import Any

import click

from builders.cli.classifier_options import checkpoint_or_random, classifier_options
from builders.cli.options import format_option, name_option, output_option, say_next, target_file
from builders.pipeline.progress import CONSOLE


@click.command("zero-shot-classification")
@classifier_options
@name_option
@click.option(
    "--max-texts", type=click.IntRange(1, 1024), default=32, show_default=True, help="Most texts in one request."
)
@click.option(
    "--max-labels", type=click.IntRange(1, 65536), default=2048, show_default=True, help="Most labels in one request."
)
@click.option(
    "--max-batch-size", type=click.IntRange(1, 4096), default=64, show_default=True, help="Most pairs in one NLI batch."
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(16, 1 << 20),
    default=4096,
    show_default=True,
    help="Most tokens in one NLI batch, padding included: this bounds its memory.",
)
@output_option
@format_option
def zero_shot_classification(
    model: str | None,
    weights: str,
    name: str | None,
    output: Path | None,
    form: str,
    **choices: Any,
) -> None:
    """Zero-shot classification: text and labels of your own in, a score for each label out.

    Takes any natural language inference checkpoint (BART, RoBERTa, DeBERTa, DistilBART, ...) whose config names its
    classes. Requests look like those of Hugging Face's containers. The finished archive is compared with transformers'
    zero-shot-classification pipeline; the build fails if a score differs by more than 1e-5.

    \b
    roundhouse build zero-shot-classification --model facebook/bart-large-mnli
    roundhouse build zero-shot-classification --weights random --architecture deberta --size tiny
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    from builders.checkpoints.random_classifier import RandomClassifier
    from builders.families import zero_shot_classification as family
    from builders.pipeline.classifier_step import Compute

    chosen = checkpoint_or_random(model, weights)
    random = RandomClassifier(*(choices.pop(key) for key in ("architecture", "size", "seed")))
    compute = Compute(*(choices.pop(key) for key in ("precision", "target", "accelerator", "max_batch_size")))
    named = name or (Path(chosen).name.lower() if chosen else f"zero-shot-{random.architecture}-{random.size}")
    CONSOLE.print(f"[bold]zero-shot-classification[/bold] {chosen or named}")
    options = family.Options(model=chosen, random=random, name=named, compute=compute, **choices)
    say_next(family.build(options, target_file(output, named, form)))
