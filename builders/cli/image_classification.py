"""`roundhouse build image-classification`."""

from pathlib import Path
from typing import Any

import click

from builders.checkpoints.image_classifier import ARCHITECTURES, PACKAGED, RANDOM
from builders.cli.options import format_option, gpu_options, name_option, output_option, say_next, target_file
from builders.pipeline.progress import CONSOLE


@click.command("image-classification")
@click.option(
    "--architecture", type=click.Choice(list(ARCHITECTURES)), default="inception-v3", show_default=True, help="Network."
)
@click.option(
    "--weights",
    default=PACKAGED,
    show_default=True,
    metavar=f"FILE|FOLDER|{PACKAGED}|{RANDOM}",
    help=f"A checkpoint of torchvision or timm; {PACKAGED}: real ImageNet weights that a package ships "
    f"(efficientnet-lite0); {RANDOM}: to try the pipeline out.",
)
@click.option("--seed", default=0, show_default=True, help="Of random weights.")
@click.option(
    "--size",
    type=click.Choice(["full", "tiny"]),
    default="full",
    show_default=True,
    help="tiny: the same network with a sixteenth of the channels, for tests (inception-v3 only).",
)
@click.option(
    "--classes",
    type=click.IntRange(2),
    help="One more than the network has puts a background class in front: 1001 is TensorFlow's layout.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Names of the classes, one per line [default: ImageNet's].",
)
@name_option
@gpu_options
@click.option(
    "--max-batch-size", type=click.IntRange(1, 1024), default=16, show_default=True, help="Most pictures in a request."
)
@click.option(
    "--measure/--no-measure", "is_measured", default=True, help="Measure footprint and latency into the manifest."
)
@output_option
@format_option
def image_classification(
    architecture: str, name: str | None, output: Path | None, form: str, weights: str, **choices: Any
) -> None:
    """Photo in (INPUT: the bytes of a JPEG, PNG, WebP, ... file), probabilities of classes out (OUTPUT).

    DALI decodes, resizes and normalises; pictures of one request may differ in size. The finished archive is compared
    with the checkpoint's torch module on pictures that Pillow prepares; the build fails if log-probabilities differ by
    more than 1e-4 on the same tensor, or pixels by more than half a grey level in the mean.

    \b
    roundhouse build image-classification --architecture efficientnet-lite0
    roundhouse build image-classification --weights inception_v3_google-0cc3c7bd.pth --classes 1001
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    from builders.families import image_classification as family

    named = name or architecture
    CONSOLE.print(f"[bold]image-classification[/bold] {architecture}")
    options = family.Options(name=named, architecture=architecture, weights=weights, **choices)
    say_next(family.build(options, target_file(output, named, form)))
