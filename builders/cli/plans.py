"""`roundhouse build plans`."""

from pathlib import Path

import click

from builders.cli.options import say_next
from builders.pipeline.progress import CONSOLE


@click.command("plans")
@click.argument("archive", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with timings of earlier compilations: read, and written. One per kind of GPU.",
)
@click.option(
    "--workspace-gib", type=click.FloatRange(0.1, 512), default=4.0, show_default=True, help="Scratch memory."
)
@click.option("--version-compatible", is_flag=True, help="Let later TensorRT versions run the plans too.")
@click.option(
    "--hardware",
    type=click.Choice(["none", "same_compute_capability", "ampere_plus"]),
    default="none",
    show_default=True,
    help="Which other GPUs may run the plans; all but none are slower.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File or folder to write [default: in place of ARCHIVE]."
)
def plans(
    archive: Path,
    timing_cache: Path | None,
    workspace_gib: float,
    version_compatible: bool,
    hardware: str,
    output: Path | None,
) -> None:
    """Compile the graphs of a finished GPU archive to TensorRT plans, on the GPU that will serve them.

    Needs TensorRT and a GPU, and neither torch nor onnx: run it inside the container that serves (docs/gpu.md). The
    plans run on this kind of GPU and this TensorRT version; the server refuses them elsewhere.

    \b
    roundhouse build sentence-embedding --target gpu -o minilm-gpu.tar.gz       anywhere
    roundhouse build plans minilm-gpu.tar.gz -o minilm-plan.tar.gz              on the GPU host
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    from builders.compile.archive_plans import require_compiler
    from builders.compile.repack import recompile
    from builders.compile.tensorrt_plan import PlanOptions
    from builders.triton_config.accelerated import placement

    require_compiler(placement("gpu", "tensorrt"))

    options = PlanOptions(
        workspace_bytes=int(workspace_gib * 2**30),
        timing_cache=timing_cache,
        is_version_compatible=version_compatible,
        hardware=hardware,  # type: ignore[arg-type] # click has checked it
    )
    CONSOLE.print(f"[bold]plans[/bold] of {archive}")
    say_next(recompile(archive, output or archive, options))
