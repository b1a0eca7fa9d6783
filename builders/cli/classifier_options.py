"""What the commands of sequence classifiers have in common: the checkpoint or random weights, precision, place."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from builders.cli.options import gpu_options

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--model", help="Checkpoint folder or hub id."),
    click.option(
        "--weights",
        type=click.Choice(["checkpoint", "random"]),
        default="checkpoint",
        show_default=True,
        help="random: seeded weights in a real architecture, for tests and capacity planning.",
    ),
    click.option(
        "--architecture", type=click.Choice(["bart", "roberta", "deberta"]), default="bart", show_default=True
    ),
    click.option("--size", type=click.Choice(["tiny", "base", "large"]), default="tiny", show_default=True),
    click.option("--seed", type=int, default=0, show_default=True, help="Of random weights."),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "fp16", "int8"]),
        default="fp32",
        show_default=True,
        help="int8 is smaller, for CPUs; fp16 is for GPUs. Scores may then differ by 0.1 and 0.01.",
    ),
    click.option(
        "--measure/--no-measure", "is_measured", default=True, help="Measure footprint and latency into the manifest."
    ),
    gpu_options,
)


def classifier_options(command: Command) -> Command:
    """All of them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def checkpoint_or_random(model: str | None, weights: str) -> str | None:
    """The checkpoint to read, None for random weights. Raises click.UsageError where both or neither is asked for."""
    if weights == "random" and model is not None:
        raise click.UsageError("--weights random makes its own checkpoint: leave --model out")
    if weights != "random" and model is None:
        raise click.UsageError("--model is missing: a checkpoint folder or hub id, or --weights random")
    return model
