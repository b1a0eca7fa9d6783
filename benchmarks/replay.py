"""`roundhouse replay`: what a server's own traffic would have cost under another policy or another budget."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.simulation.budgets import parse, written
from benchmarks.simulation.policies import OFFLINE, POLICIES
from benchmarks.simulation.sweep import content_bytes, sweep
from benchmarks.simulation.verdict import add_distances, chart, table
from benchmarks.traffic.access_log import LogUnreadableError, read, read_file
from benchmarks.traffic.measured import describe
from benchmarks.traffic.trace import Trace

BUDGETS: Final = ("5%", "10%", "20%", "40%", "80%")
SERVED: Final = ("lru", "gdsf", "s3-fifo")
"""What `roundhouse serve --policy` takes."""
_AROUND: Final = (0.25, 0.5, 1, 2, 4)
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("log", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Choice([name for name in POLICIES if name not in OFFLINE]),
    help=f"May be given again  [default: {', '.join(SERVED)}].",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    default=BUDGETS,
    show_default=True,
    help="8GiB, 24GB, or a share of all content in the log, each part counted once; may be given again.",
)
@click.option(
    "--churn-guard-s",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="Seconds after its load for which an archive leaves only if no other can; the server's own setting.",
)
@click.option("--plot", type=_FILE, help="Draw misses and load-seconds over budgets into this SVG.")
@click.option("--json", "result", type=_FILE, help="Write every figure into this file.")
def replay(
    log: Path,
    policies: tuple[str, ...],
    budgets: tuple[str, ...],
    churn_guard_s: float,
    plot: Path | None,
    result: Path | None,
) -> None:
    """Replay an access log against eviction policies and against the offline optimum: no server, no waiting.

    A server writes such a log with --access-log FILE (docs/access_log.md). Replaying a day of it takes seconds.

    \b
    Would another policy have loaded less?      roundhouse replay access.jsonl --budget 8GiB
    What would twice the memory have saved?     roundhouse replay access.jsonl --budget 8GiB --budget 16GiB
    One policy, as a picture                    roundhouse replay access.jsonl --policy gdsf --plot curve.svg
    Two files that follow each other            cat access.jsonl.1 access.jsonl | roundhouse replay -

    How to read the table: `miss %` are the requests that had to wait for a load, `load s` the seconds of loading per
    100 requests, `loaded` the bytes that were brought into memory. `belady` knows the future and aims at few misses,
    `belady-cost` at few load-seconds. With equal sizes and nothing shared they are the optimum; elsewhere they are
    schedules that could be had, and `(no schedule)` is the bound below which nobody can come. A policy at 1.1 x opt.
    leaves little to gain but by more memory; one at 2 x opt. is worth changing.

    Loads take no time in a replay: requests that come while an archive is loading are hits. Requests for archives
    larger than the budget are refused, and are not in the ratios.
    """  # noqa: D301 - \b is click's: it keeps the lines of the examples apart
    console = Console()
    trace = _read(log, console)
    sizes = _sizes(budgets, trace)
    drawn = sorted({int(size * factor) for size in sizes for factor in _AROUND}) if len(sizes) == 1 else sizes
    chosen = [*dict.fromkeys(policies or SERVED), *sorted(OFFLINE)]
    every = sorted({*sizes, *drawn}) if plot else sizes
    with _bar(console) as bar:
        running = bar.add_task("replaying", total=len(every) * len(chosen))
        rows = sweep(trace, chosen, every, [True], lambda _: bar.advance(running), churn_guard_s)
    add_distances(rows)
    asked = [row for row in rows if row["budget_bytes"] in sizes]
    title = f"{log}: {len(trace):,} requests for {len(trace.archives):,} archives, {written(content_bytes(trace))}"
    console.print(table(title, asked))
    if refused := max(row["refused"] for row in asked):
        console.print(f"up to {refused:,} requests asked for an archive larger than the budget; they are not counted")
    if plot:
        plot.write_text(chart(f"{log.name}: what each policy costs", rows))
        console.print(f"drawn: {plot}")
    if result:
        document = {"log": log.name, "churn_guard_s": churn_guard_s, "statistics": describe(trace), "rows": rows}
        result.write_text(json.dumps(document, indent=2) + "\n")
        console.print(f"written: {result}")


def _read(log: Path, console: Console) -> Trace:
    try:
        if str(log) == "-":
            return read(sys.stdin)
        with _bar(console) as bar:
            reading = bar.add_task("reading", total=log.stat().st_size)
            return read_file(log, _advance(bar, reading))
    except LogUnreadableError as unreadable:
        raise click.ClickException(f"{log}: {unreadable}") from unreadable


def _advance(bar: Progress, task: TaskID) -> Callable[[int], None]:
    return lambda count: bar.advance(task, count)


def _sizes(budgets: Sequence[str], trace: Trace) -> list[int]:
    if not content_bytes(trace):
        raise click.ClickException("no line says how many bytes an archive has: nothing was ever loaded")
    try:
        return sorted({parse(budget, content_bytes(trace)) for budget in budgets})
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--budget") from wrong


def _bar(console: Console) -> Progress:
    return Progress(BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True)


if __name__ == "__main__":
    replay()
