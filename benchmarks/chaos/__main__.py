"""`python -m benchmarks.chaos`: harm a server under load, and judge it; the verdict goes to results/chaos.json."""

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import click
from rich.console import Console

from benchmarks.chaos.run import Plan, run
from benchmarks.chaos.truth import Truth
from benchmarks.environment import environment

RESULT: Final = Path(__file__).parents[1] / "results" / "chaos.json"
ENGINES: Final = {"both": ("embedded", "triton"), "embedded": ("embedded",), "triton": ("triton",)}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--minutes", type=click.FloatRange(0.1), default=10.0, show_default=True, help="For each engine.")
@click.option("--engine", type=click.Choice(list(ENGINES)), default="both", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same harm; its timing varies.")
@click.option(
    "--result",
    type=click.Path(path_type=Path, dir_okay=False),
    default=RESULT,
    help="Where the verdict goes  [default: benchmarks/results/chaos.json].",
)
@click.option("--quiet", is_flag=True, help="Tell the verdict only.")
def main(minutes: float, engine: str, seed: int, result: Path, quiet: bool) -> None:
    """Kill, starve, mislead and overwrite a server under load, and check every answer that it gives meanwhile.

    A real server on S3 (moto, behind a proxy that refuses, delays and breaks off), with tritonserver and with the
    embedded engine: random kills of tritonserver and of the processes of Python steps, a cache on a disk that is filled
    to the last block (where a tmpfs may be mounted), uploads that are cut off or no archive at all, deletions, and new
    versions all the time, while six clients ask on three surfaces.

    \b
    It passes if
    - every answer is wholly of one version, which was uploaded whole, and no client ever sees an older one again;
    - every failure can be read, and has a status that a fault at that moment explains;
    - afterwards every archive's newest version is served; the ledger goes to zero; no file, process or shared memory
      is left behind.
    """  # noqa: D301 - \b is click's: it keeps the list
    console = Console(highlight=False)
    began = perf_counter()

    def heard(what: str, truth: Truth) -> None:
        if not quiet:
            counted = ", ".join(f"{count} x {status}" for status, count in sorted(truth.outcomes.items()))
            wrong = f", [red]{truth.wrong_count} WRONG[/red]" if truth.wrong_count else ""
            console.print(f"{perf_counter() - began:6.1f} s  {what:<60} {counted}{wrong}", soft_wrap=True)

    runs: list[dict[str, Any]] = []
    for each in ENGINES[engine]:
        console.print(f"[bold]{each}[/bold], {minutes:g} minutes, seed {seed}")
        runs.append(run(Plan(each, 60 * minutes, seed), heard))
        console.print_json(data=runs[-1])
    document = {
        "scenario": "chaos",
        "passed": all(each["passed"] for each in runs),
        "runs": runs,
        "environment": environment(),
    }
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"{'passed' if document['passed'] else 'FAILED'}; written to {result}")
    sys.exit(0 if document["passed"] else 1)


if __name__ == "__main__":
    main()
