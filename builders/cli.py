"""`roundhouse build`: one subcommand per model family."""

from pathlib import Path
from typing import Any

import click

from builders.pipeline.progress import CONSOLE

ARCHIVES = Path("model_repository/archives")
_BY_FORMAT = {"tar.gz": ".tar.gz", "tar.zst": ".tar.zst", "folder": ""}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def build() -> None:
    """Compile a model family into an archive that the server loads on demand.

    An archive is an ordinary Triton model repository (.tar.gz, .tar.zst or a folder) with an ensemble and a manifest
    that says how it was made, how close it is to its reference and what it will take.

    \b
    roundhouse build demo                                    the demo set, with real all-MiniLM-L6-v2 weights
    roundhouse build sentence-embedding --model ./my-model   your own sentence-transformers checkpoint
    roundhouse build sentence-classifier --base minilm.tar.gz --head head.npz --labels good,bad
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped


def _target_file(output: Path | None, name: str, form: str) -> Path:
    return output if output is not None else ARCHIVES / f"{name}{_BY_FORMAT[form]}"


def _say_next(archive: Path) -> None:
    size = (
        sum(path.stat().st_size for path in archive.rglob("*") if path.is_file())
        if archive.is_dir()
        else archive.stat().st_size
    )
    CONSOLE.print(f"[bold green]built[/bold green] {archive} [dim]({size / 1e6:.1f} MB)[/dim]")
    CONSOLE.print(
        f"  look inside   roundhouse archive inspect {archive}\n"
        f"  serve it      roundhouse serve --store {archive.parent}"
    )


_name = click.option("--name", help="Name of the archive and of its entry model.")
_output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help=f"File or folder to write [default: {ARCHIVES}/NAME...]."
)
_format = click.option(
    "--format",
    "form",
    type=click.Choice(list(_BY_FORMAT)),
    default="tar.gz",
    show_default=True,
    help="Form of the archive, without --output.",
)


@build.command("sentence-embedding")
@click.option(
    "--model",
    default="all-MiniLM-L6-v2",
    show_default=True,
    help="Checkpoint folder, hub id, or a packaged model's name.",
)
@_name
@click.option(
    "--layout",
    type=click.Choice(["pooled", "three-step"]),
    default="pooled",
    show_default=True,
    help="pooled: pooling inside the graph. three-step: preprocess, bert, postprocess as in AWS's walk-through.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "int8"]),
    default="fp32",
    show_default=True,
    help="int8 is smaller, and checked by cosine.",
)
@click.option(
    "--target", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True, help="Where the encoder will run."
)
@click.option(
    "--max-batch-size", type=click.IntRange(1, 4096), default=64, show_default=True, help="Most texts in one request."
)
@click.option(
    "--measure/--no-measure", "is_measured", default=True, help="Measure footprint and latency into the manifest."
)
@_output
@_format
def sentence_embedding(model: str, name: str | None, output: Path | None, form: str, **choices: Any) -> None:
    """Sentence embeddings: text in (INPUT0), one vector per text out (OUTPUT0).

    The checkpoint's own files decide about maximal length, pooling and normalisation. The finished archive is compared
    with sentence-transformers; the build fails if it differs by more than 1e-4 (int8: cosine below 0.95).
    """
    from builders.families import sentence_embedding as family

    named = name or Path(model).name.lower()
    CONSOLE.print(f"[bold]sentence-embedding[/bold] {model}")
    _say_next(family.build(family.Options(model=model, name=named, **choices), _target_file(output, named, form)))


@build.command("sentence-classifier")
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
@_name
@_output
@_format
def sentence_classifier(base: Path, head: Path, labels: str, name: str | None, output: Path | None, form: str) -> None:
    """A linear classifier that shares its base's tokenizer and encoder in memory with every other one of that base."""
    from builders.families import sentence_classifier as family

    named = name or head.stem
    read = family.read_head(head, [label.strip() for label in labels.split(",")])
    CONSOLE.print(f"[bold]sentence-classifier[/bold] {named} on {base}")
    _say_next(family.build(base, read, named, _target_file(output, named, form)))


@build.command("demo")
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
