"""`roundhouse build demo`."""

from pathlib import Path

import click

from builders.cli.options import ARCHIVES
from builders.pipeline.progress import CONSOLE


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=ARCHIVES,
    show_default=True,
    help="Folder to write to.",
)
def demo(output: Path) -> None:
    """The demo set: one archive of each family, and photographs beside them.

    Embeddings, the topic classifier and the photo classifier have real weights; those called "tiny" have the real
    architecture, small, with random weights. What is up to date is not built again.
    """
    from builders.demo import build_demo

    build_demo(output)
    CONSOLE.print(f"next: roundhouse serve --store {output}")
