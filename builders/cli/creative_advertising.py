"""`roundhouse build creative-advertising`."""

from pathlib import Path

import click

from builders.cli.options import format_option, name_option, output_option, say_next, target_file
from builders.pipeline.progress import CONSOLE


@click.command("creative-advertising")
@click.option(
    "--segment-anything",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="An archive or folder made by  roundhouse build segment-anything.",
)
@click.option(
    "--stable-diffusion",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="An archive or folder made by  roundhouse build stable-diffusion, with an inpainting model in it.",
)
@name_option
@output_option
@format_option
def creative_advertising(
    segment_anything: Path, stable_diffusion: Path, name: str | None, output: Path | None, form: str
) -> None:
    """Creative advertising: a product's picture and two prompts in, an advertisement out.

    The entry model takes IMAGE (UINT8 [h, w, 3]), PROMPT_FR (the product) and PROMPT_BG (what is behind it), optionally
    NEGATIVE_PROMPT, MASK (white where the product is; without it Segment Anything looks at the middle), STEPS, SEED,
    GUIDANCE and SCHEDULER. It answers GENERATED, BACKGROUND, PRODUCT_MASK and POSTPROCESSED.

    The steps of both bases are taken over byte for byte: a server that holds one of them in memory shares it.

    \b
    roundhouse build creative-advertising --segment-anything sam.tar.gz --stable-diffusion sd.tar.gz
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    from builders.families import creative_advertising as family

    named = name or "creative-advertising"
    CONSOLE.print(f"[bold]creative-advertising[/bold] {segment_anything.name} + {stable_diffusion.name}")
    options = family.Options(segment_anything, stable_diffusion, named)
    say_next(family.build(options, target_file(output, named, form)))
