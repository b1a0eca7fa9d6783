"""`python -m benchmarks.simulate`: which policy misses least, and how far each is from the optimum."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.environment import environment
from benchmarks.simulation.budgets import parse
from benchmarks.simulation.certificate import RUNS, certificate
from benchmarks.simulation.policies import POLICIES
from benchmarks.simulation.report import certificate_table, charts, sweep_tables
from benchmarks.simulation.sweep import content_bytes, gains, sweep
from benchmarks.traffic.access_log import LogUnreadableError, read_file, write
from benchmarks.traffic.arrivals import poisson, sessions
from benchmarks.traffic.fleet import asked_of, fleet
from benchmarks.traffic.measured import describe
from benchmarks.traffic.popularity import zipf
from benchmarks.traffic.trace import Archive, Trace

RESULT: Final = Path(__file__).parent / "results" / "simulation.json"
BUDGETS: Final = ("5%", "10%", "20%", "40%", "80%")
_SHARING: Final = {"both": (False, True), "on": (True,), "off": (False,)}
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command(context_settings={"max_content_width": 110})
@click.option(
    "--log",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Replay this access log (docs/access_log.md) instead of made traffic.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Choice(list(POLICIES)),
    help="Only this one; may be given again  [default: all].",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    default=BUDGETS,
    show_default=True,
    help="24GB, 24GiB, or a share of all content, each part counted once; may be given again.",
)
@click.option(
    "--sharing",
    type=click.Choice(list(_SHARING)),
    default="both",
    show_default=True,
    help="Equal parts are in memory once (on), or once per archive (off).",
)
@click.option(
    "--arrivals",
    multiple=True,
    type=click.Choice(["sessions", "poisson"]),
    default=("sessions",),
    show_default=True,
    help="sessions come as real users do; poisson is independent requests, pessimistic. May be given again.",
)
@click.option(
    "--alpha",
    "alphas",
    multiple=True,
    type=click.FloatRange(0, 4),
    default=(0.9,),
    show_default=True,
    help="Zipf exponent of popularity: 0.9 is web-like, 1.43 a production fleet. May be given again.",
)
@click.option("--bases", type=click.IntRange(1), default=50, show_default=True, help="Bases in the made fleet.")
@click.option("--heads", type=click.IntRange(1), default=200, show_default=True, help="Archives on each base.")
@click.option("--requests", type=click.IntRange(1), default=200_000, show_default=True, help="Length of the traffic.")
@click.option("--days", type=click.FloatRange(1), default=7.0, show_default=True, help="Over how long they come.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same traffic.")
@click.option("--write-log", type=_FILE, help="Also write the made traffic (the first, if several) as an access log.")
@click.option(
    "--certificate/--no-certificate",
    "certify",
    default=True,
    show_default=True,
    help="Compare the generator's miss curves with the published ones of a real trace.",
)
@click.option(
    "--result",
    type=_FILE,
    default=RESULT,
    help="JSON goes here, charts beside it  [default: benchmarks/results/simulation.json].",
)
def main(
    log: Path | None,
    policies: tuple[str, ...],
    budgets: tuple[str, ...],
    sharing: str,
    arrivals: tuple[str, ...],
    alphas: tuple[float, ...],
    bases: int,
    heads: int,
    requests: int,
    days: float,
    seed: int,
    write_log: Path | None,
    certify: bool,
    result: Path,
) -> None:
    """Replay traffic against eviction policies within a byte budget, on the traffic's own clock: no server, no waiting.

    \b
    Ten thousand archives and a week of made traffic, all policies, five budgets, sharing on and off:
        python -m benchmarks.simulate
    Your own log on a 24 GB device:
        python -m benchmarks.simulate --log access.jsonl --budget 24GB
    The whole recipe, independent requests included:
        python -m benchmarks.simulate --alpha 0.9 --alpha 1.43 --arrivals sessions --arrivals poisson

    `belady` knows the future. With equal sizes and nothing shared it is the optimum for misses; elsewhere it and
    `belady-cost` (which aims at load-seconds) are greedy: the optimum is at most as bad. The JSON has floors too, which
    no schedule can beat.
    """  # noqa: D301 - \b is click's: it keeps the lines of the examples apart
    console = Console()
    began = perf_counter()
    kinds = [] if log else list(dict.fromkeys(product(arrivals, alphas)))
    chosen = policies or tuple(POLICIES)
    document: dict[str, Any] = {
        "scenario": "simulation",
        "settings": {"log": log.name} if log else {"seed": seed, "bases": bases, "heads": heads},
        "traffic": [],
    }
    with _bar(console) as bar:
        reading = bar.add_task("reading the log", total=log.stat().st_size if log else 0, visible=log is not None)
        runs = max(len(kinds), 1) * len(chosen) * len(budgets) * len(_SHARING[sharing])
        replaying = bar.add_task("making traffic", total=runs + RUNS * certify)

        def heard(label: str, what: str) -> None:
            bar.update(replaying, advance=1, description=f"{label}: {what}")

        came = _logged(log, lambda count: bar.advance(reading, count)) if log else None
        for label, trace in came or _made(kinds, fleet(bases, heads, seed=seed), requests, days, seed):
            if write_log and not document["traffic"]:
                with write_log.open("w") as file:
                    write(trace, file)
            rows = sweep(trace, chosen, _sizes(budgets, trace), _SHARING[sharing], partial(heard, label))
            document["traffic"].append(
                {"label": label, "statistics": describe(trace), "rows": rows, "gains_of_sharing": gains(rows)}
            )
        document["certificate"] = certificate(partial(heard, "certificate")) if certify else None
    document["seconds"] = round(perf_counter() - began, 1)
    document["environment"] = environment()
    _show(console, document)
    _save(document, result)
    console.print(
        f"{document['seconds']} s; written to {result}, with a chart of misses and one of load-seconds beside it"
    )


def _bar(console: Console) -> Progress:
    counted = TextColumn("{task.completed}/{task.total}")
    return Progress(BarColumn(), counted, TimeElapsedColumn(), TextColumn("{task.description}"), console=console)


def _logged(log: Path, read_bytes: Callable[[int], None]) -> Iterator[tuple[str, Trace]]:
    try:
        yield log.name, read_file(log, read_bytes)
    except LogUnreadableError as unreadable:
        raise click.ClickException(f"{log}: {unreadable}") from unreadable


def _made(
    kinds: list[tuple[str, float]], archives: tuple[Archive, ...], requests: int, days: float, seed: int
) -> Iterator[tuple[str, Trace]]:
    for kind, alpha in kinds:
        draw = sessions if kind == "sessions" else poisson
        came = draw(zipf(len(archives), alpha), requests, days * 86400, seed=seed)
        label = f"{kind}, zipf {alpha}" + (" (pessimistic)" if kind == "poisson" else "")
        yield label, asked_of(came, archives, seed=seed)


def _sizes(budgets: tuple[str, ...], trace: Trace) -> list[int]:
    try:
        return sorted({parse(budget, content_bytes(trace)) for budget in budgets})
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--budget") from wrong


def _show(console: Console, document: dict[str, Any]) -> None:
    for traffic in document["traffic"]:
        for table in sweep_tables(traffic["label"], traffic["rows"]):
            console.print(table)
        refused = sum(row["refused"] for row in traffic["rows"])
        if refused:
            console.print(
                f"{refused:,} requests asked for an archive larger than its budget; they are not in the ratios"
            )
    if document["certificate"]:
        console.print(certificate_table(document["certificate"]))


def _save(document: dict[str, Any], result: Path) -> None:
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(document, indent=2) + "\n")
    for name, chart in charts(document).items():
        result.with_name(f"{result.stem}_{name}.svg").write_text(chart)


if __name__ == "__main__":
    main()
