"""`roundhouse build sentence-embedding`."""

from pathlib import Path
from typing import Any

import click

from builders.cli.options import format_option, gpu_options, name_option, output_option, say_next, target_file
from builders.pipeline.progress import CONSOLE


@click.command("sentence-embedding")
@click.option(
    "--model",
    default="all-MiniLM-L6-v2",
    show_default=True,
    help="Checkpoint folder, hub id, or a packaged model's name.",
)
@name_option
@click.option(
    "--layout",
    type=click.Choice(["pooled", "three-step"]),
    default="pooled",
    show_default=True,
    help="pooled: pooling inside the graph. three-step: preprocess, bert, postprocess as in AWS's walk-through.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="int8 is smaller and faster, for CPUs; fp16 is for GPUs; both are checked by cosine.",
)
@gpu_options
@click.option(
    "--max-batch-size", type=click.IntRange(1, 4096), default=64, show_default=True, help="Most texts in one request."
)
@click.option(
    "--measure/--no-measure", "is_measured", default=True, help="Measure footprint and latency into the manifest."
)
@output_option
@format_option
def sentence_embedding(model: str, name: str | None, output: Path | None, form: str, **choices: Any) -> None:
    """Sentence embeddings: text in (INPUT0), one vector per text out (OUTPUT0).

    The checkpoint's own files decide about maximal length, pooling and normalisation. The finished archive is compared
    with sentence-transformers; the build fails if it differs by more than 1e-4. fp16 and int8 are compared with fp32,
    too, and fail below a cosine of 0.999 and 0.985 for any of many texts; the manifest has the figures.
    """
    from builders.families import sentence_embedding as family

    named = name or Path(model).name.lower()
    CONSOLE.print(f"[bold]sentence-embedding[/bold] {model}")
    say_next(family.build(family.Options(model=model, name=named, **choices), target_file(output, named, form)))
