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
    """The demo set: MiniLM in fp32, int8 and three steps, and a topic classifier that shares the first one's steps."""
    from builders.demo import build_demo

    build_demo(output)
    CONSOLE.print(f"next: roundhouse serve --store {output}")
