"""`roundhouse build stable-diffusion`."""

from pathlib import Path
from typing import Any

import click

from builders.cli.options import format_option, gpu_options, name_option, output_option, say_next, target_file
from builders.pipeline.progress import CONSOLE

_NAME = "stable-diffusion"


@click.command(_NAME)
@click.option("--model", default="", help="Text-to-image checkpoint: a folder in diffusers' layout, or a hub id.")
@click.option(
    "--inpainting", default="", help="Inpainting checkpoint (a UNet of 9 channels), beside or without --model."
)
@click.option("--weights", type=click.Choice(["random"]), help="Seeded random weights instead of a checkpoint.")
@click.option(
    "--size",
    type=click.Choice(["tiny", "sd15"]),
    default="tiny",
    show_default=True,
    help="Of random weights: tiny has every part, few and narrow; sd15 is Stable Diffusion 1.5's full size (4.3 GB).",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of random weights.")
@click.option(
    "--with-inpainting/--without-inpainting",
    default=None,
    help="Of random weights: a second UNet for inpainting  [default: with, for tiny; without, for sd15].",
)
@name_option
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="fp16 is for GPUs: half the memory.",
)
@gpu_options
@click.option(
    "--max-pixels",
    type=click.IntRange(64 * 64),
    default=1024 * 1024,
    show_default=True,
    help="Largest picture to paint.",
)
@click.option(
    "--max-steps", type=click.IntRange(1, 500), default=250, show_default=True, help="Most steps of a request."
)
@click.option(
    "--max-images", type=click.IntRange(1, 64), default=8, show_default=True, help="Most images of a request."
)
@click.option(
    "--measure/--no-measure", "is_measured", default=True, help="Measure footprint and latency into the manifest."
)
@output_option
@format_option
def stable_diffusion(
    weights: str | None,
    size: Any,
    with_inpainting: bool | None,
    name: str | None,
    output: Path | None,
    form: str,
    **choices: Any,
) -> None:
    """Images from text (PROMPT), from images (IMAGE), and into masks (MASK): Stable Diffusion 1.x and 2.x.

    \b
    roundhouse build stable-diffusion --weights random                     seconds, to see how it works
    roundhouse build stable-diffusion --model stable-diffusion-v1-5/stable-diffusion-v1-5 \\
        --inpainting stable-diffusion-v1-5/stable-diffusion-inpainting     two checkpoints, shared parts built once
    roundhouse build stable-diffusion --model ./sd --target gpu --precision fp16

    The parts become steps of their own (tokenizer, text encoder, UNet, VAE encoder and decoder), so archives that have
    one in common load it once. Each is compared with diffusers; small models also picture by picture, with all four
    schedulers (ddim, pndm, euler, dpm++), to one of 255 grey levels.
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    from builders.families import stable_diffusion as family

    if weights is None and not (choices["model"] or choices["inpainting"]):
        raise click.UsageError("give --model, --inpainting, or --weights random")
    if weights is not None and (choices["model"] or choices["inpainting"]):
        raise click.UsageError("--weights random does not go with --model or --inpainting")
    named = name or _NAME
    is_both = with_inpainting if with_inpainting is not None else size == "tiny"
    options = family.Options(size=size if weights else None, with_inpainting=is_both, name=named, **choices)
    CONSOLE.print(f"[bold]{_NAME}[/bold] {choices['model'] or choices['inpainting'] or f'random {size}'}")
    say_next(family.build(options, target_file(output, named, form)))
