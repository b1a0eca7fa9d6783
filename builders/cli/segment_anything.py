"""`roundhouse build segment-anything`."""

from pathlib import Path
from typing import Any

import click

from builders.cli.options import format_option, gpu_options, name_option, output_option, say_next, target_file
from builders.pipeline.progress import CONSOLE


@click.command("segment-anything")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A checkpoint as Meta publishes them (sam_vit_b_01ec64.pth, ...); its shapes say which size it is.",
)
@click.option(
    "--weights",
    type=click.Choice(["random"]),
    help="random: seeded weights of the real architecture, for tests and measurements; its masks mean nothing.",
)
@click.option(
    "--size",
    type=click.Choice(["tiny", "vit_b", "vit_l", "vit_h"]),
    default="vit_b",
    show_default=True,
    help="With --weights random. tiny: the same parts, few and narrow.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="With --weights random.")
@name_option
@gpu_options
@click.option(
    "--measure/--no-measure", "is_measured", default=True, help="Measure footprint and latency into the manifest."
)
@output_option
@format_option
def segment_anything(
    checkpoint: Path | None, weights: str | None, name: str | None, output: Path | None, form: str, **choices: Any
) -> None:
    """Segment Anything: a picture and points, a box or an earlier mask in, masks out.

    The entry model takes IMAGE (an encoded picture) with POINTS and POINT_LABELS, BOX, MASK_INPUT, MULTIMASK, all
    optional; nothing means the picture's centre. It answers MASKS (0 and 1, at the picture's size), IOU (the model's
    own guess of each mask's quality) and LOW_RES (logits, to be given back as MASK_INPUT).

    The image encoder takes nearly all of the time. Its answers are kept (serve --response-cache 256MiB), so that a
    second prompt on the same picture costs milliseconds. The finished archive is compared with SamPredictor.

    \b
    roundhouse build segment-anything --checkpoint sam_vit_b_01ec64.pth
    roundhouse build segment-anything --weights random --size tiny
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    from builders.families import segment_anything as family

    if (checkpoint is None) == (weights is None):
        raise click.UsageError("say where the weights come from: --checkpoint FILE, or --weights random")
    named = name or ("segment-anything" if checkpoint is None else checkpoint.stem.replace("_", "-"))
    CONSOLE.print(f"[bold]segment-anything[/bold] {checkpoint or 'random weights'}")
    options = family.Options(checkpoint=checkpoint, name=named, **choices)
    say_next(family.build(options, target_file(output, named, form)))
