"""`roundhouse build text-classification`."""

from pathlib import Path
from typing import Any

import click

from builders.cli.classifier_options import checkpoint_or_random, classifier_options
from builders.cli.options import format_option, name_option, output_option, say_next, target_file
from builders.pipeline.progress import CONSOLE


@click.command("text-classification")
@classifier_options
@click.option("--labels", help="Labels of random weights, with commas.")
@click.option("--second", help="Makes a cascade: checkpoint of the fine-grained model.")
@click.option("--second-labels", help="Makes a cascade with random weights: labels of the fine-grained model.")
@click.option("--fires", help="The first model's label at which the second model is asked.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="The score of --fires from which on the second model is asked.",
)
@name_option
@click.option(
    "--max-batch-size", type=click.IntRange(1, 4096), default=64, show_default=True, help="Most texts in one request."
)
@output_option
@format_option
def text_classification(
    model: str | None,
    weights: str,
    name: str | None,
    output: Path | None,
    form: str,
    second: str | None,
    fires: str | None,
    **choices: Any,
) -> None:
    """Text classification: text in, a score for each of the checkpoint's labels out; alone, or as a cascade of two.

    Takes any sequence-classification checkpoint. Requests and answers look like those of Hugging Face's containers.
    The finished archive is compared with transformers' text-classification pipeline; the build fails if a score
    differs by more than 1e-5.

    A cascade asks a small model about every text, and a large one only where the small one fires:

    \b
    roundhouse build text-classification --model ./is-it-spam
    roundhouse build text-classification --model ./is-it-spam --second ./which-spam --fires spam --threshold 0.7
    roundhouse build text-classification --weights random --labels good,bad --architecture roberta
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    from builders.checkpoints.random_classifier import RandomClassifier
    from builders.families import text_classification as family
    from builders.pipeline.classifier_step import Compute

    chosen = checkpoint_or_random(model, weights)
    kind: dict[str, Any] = {key: choices.pop(key) for key in ("architecture", "size", "seed")}
    labels, second_labels = (_listed(choices.pop(key)) for key in ("labels", "second_labels"))
    threshold = choices.pop("threshold")
    compute = Compute(*(choices.pop(key) for key in ("precision", "target", "accelerator", "max_batch_size")))
    fine = None
    if second is not None or second_labels:
        if fires is None:
            raise click.UsageError("--fires is missing: the first model's label at which the second model is asked")
        source = family.Source(second, RandomClassifier(**kind, labels=second_labels))
        fine = family.Second(source, fires, threshold)
    named = name or (Path(chosen).name.lower() if chosen else f"text-{kind['architecture']}-{kind['size']}")
    CONSOLE.print(f"[bold]text-classification[/bold] {chosen or named}")
    source = family.Source(chosen, RandomClassifier(**kind, labels=labels))
    options = family.Options(source, fine, named, compute, **choices)
    say_next(family.build(options, target_file(output, named, form)))


def _listed(labels: object) -> tuple[str, ...]:
    return tuple(label.strip() for label in str(labels or "").split(",") if label.strip())
