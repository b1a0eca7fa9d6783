"""`roundhouse build sentence-classifier`."""

from pathlib import Path

import click

from builders.cli.options import format_option, name_option, output_option, say_next, target_file
from builders.pipeline.progress import CONSOLE


@click.command("sentence-classifier")
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="A sentence-embedding archive or folder.",
)
@click.option(
    "--head",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help=".npz with weights [width, classes] and bias [classes].",
)
@click.option("--labels", required=True, help="Class names, separated by commas, in the order of the weights' columns.")
@click.option(
    "--base-archive",
    metavar="ARCHIVE",
    default="",
    help="Leave the base's steps out, and take them from this archive of the same store (bases/minilm.tar.gz).",
)
@name_option
@output_option
@format_option
def sentence_classifier(
    base: Path, head: Path, labels: str, base_archive: str, name: str | None, output: Path | None, form: str
) -> None:
    """A linear classifier that shares its base's tokenizer and encoder in memory with every other one of that base."""
    from builders.families import sentence_classifier as family

    named = name or head.stem
    read = family.read_head(head, [label.strip() for label in labels.split(",")])
    CONSOLE.print(f"[bold]sentence-classifier[/bold] {named} on {base}")
    say_next(family.build(base, read, named, target_file(output, named, form), base_archive))
