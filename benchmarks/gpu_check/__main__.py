"""`python -m benchmarks.gpu_check`: see the package."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click

from benchmarks.environment import environment
from benchmarks.gpu_check.check import Plan, Side, run
from benchmarks.gpu_check.report import markdown

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


def gpus() -> list[str]:
    """Name, memory, driver and compute capability of each GPU; [] where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total,driver_version,compute_cap", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()


@click.command()
@click.option("--store", type=_FOLDER, required=True, help="Archives for the subject: the GPU.")
@click.option(
    "--reference-store", type=_FOLDER, help="Archives of the same names for the reference  [default: --store]."
)
@click.option("--archive", "archives", multiple=True, help="Only this one; may be given again  [default: all].")
@click.option("--subject-flags", default="--engine triton", show_default=True, help="Flags of `roundhouse serve`.")
@click.option("--subject-address", default="", help="HOST:PORT of a subject that runs already, as in a container.")
@click.option("--reference-flags", default="--engine embedded", show_default=True, help="Likewise.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Length of a measurement.")
@click.option("--patience", type=float, default=1200.0, show_default=True, help="Seconds that a load may take.")
@click.option(
    "--report", type=click.Path(path_type=Path), default=Path("benchmarks/results/gpu_check"), show_default=True
)
def main(
    store: Path,
    reference_store: Path | None,
    archives: tuple[str, ...],
    subject_flags: str,
    subject_address: str,
    reference_flags: str,
    seconds: float,
    patience: float,
    report: Path,
) -> None:
    """Compare the archives on a GPU with their references on the CPU; writes REPORT.json and REPORT.md.

    Leaves with 1 where an archive does not answer, or not as its reference does.
    """
    report.parent.mkdir(parents=True, exist_ok=True)
    result = run(
        Plan(
            reference=Side(reference_store or store, tuple(shlex.split(reference_flags))),
            subject=Side(store, tuple(shlex.split(subject_flags)), subject_address),
            archives=archives,
            seconds=seconds,
            patience_s=patience,
            logs=report.parent,
        )
    )
    result["environment"] = {"gpus": gpus(), **environment()}
    report.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    text = markdown(result)
    report.with_suffix(".md").write_text(text)
    click.echo(text)
    sys.exit(0 if result["is_fine"] else 1)


if __name__ == "__main__":
    main()
