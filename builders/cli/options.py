"""What the commands of all families have in common: name, output, format, and the last lines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from builders.pipeline.progress import CONSOLE

Command = TypeVar("Command", bound=Callable[..., Any])

ARCHIVES = Path("model_repository/archives")
_BY_FORMAT = {"tar.gz": ".tar.gz", "tar.zst": ".tar.zst", "folder": ""}


def target_file(output: Path | None, name: str, form: str) -> Path:
    """Say where the archive goes: where `--output` says, else into the folder of archives, with the format's suffix."""
    return output if output is not None else ARCHIVES / f"{name}{_BY_FORMAT[form]}"


def say_next(archive: Path) -> None:
    """Tell what was built, and how to look at it and serve it."""
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


name_option = click.option("--name", help="Name of the archive and of its entry model.")
output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help=f"File or folder to write [default: {ARCHIVES}/NAME...]."
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(list(_BY_FORMAT)),
    default="tar.gz",
    show_default=True,
    help="Form of the archive, without --output.",
)
target_option = click.option(
    "--target", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True, help="Where the graphs will run."
)
accelerator_option = click.option(
    "--accelerator",
    type=click.Choice(["tensorrt", "onnxruntime-tensorrt", "onnxruntime-cuda"]),
    help="With --target gpu: tensorrt compiles plans now, on the GPU that will serve (docs/gpu.md); "
    "onnxruntime-tensorrt compiles at the first load; onnxruntime-cuda does not compile  [default: onnxruntime-cuda]",
)


def gpu_options(command: Command) -> Command:
    """`--target` and `--accelerator`, which `builders.triton_config.accelerated.placement` puts together."""
    return target_option(accelerator_option(command))
