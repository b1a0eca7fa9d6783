"""`roundhouse tune`: which settings serve an archive best on this host, by measurement."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from benchmarks.environment import environment
from benchmarks.tuning.bench import Bench, TuningFailedError, Variant, facts_of, write
from benchmarks.tuning.judging import Goal
from benchmarks.tuning.payload import NoPayloadError, from_files, made_for
from benchmarks.tuning.search import BaselineFailedError, Search, Thoroughness, Verdict
from benchmarks.tuning.space import BASELINE, Knob, knobs
from benchmarks.tuning.telling import curves_of, curves_table, document, picture, tried_table

LEVELS: Final = (1, 4, 16, 64)
_INTERRUPTED: Final = 130
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_ARCHIVE: Final = click.Path(path_type=Path, exists=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("archive", type=_ARCHIVE)
@click.option("--p99-ms", type=click.FloatRange(0, min_open=True), help="The goal: 99 % of answers within so long.")
@click.option("--p50-ms", type=click.FloatRange(0, min_open=True), help="Or: half of the answers within so long.")
@click.option("--also", multiple=True, type=_ARCHIVE, help="A variant (int8, say) that may be taken instead; repeat.")
@click.option(
    "--payload", multiple=True, type=_FILE, help="A request body of yours, sent to /invocations; may be given again."
)
@click.option("--content-type", help="What the payload is  [default: by the file's suffix].")
@click.option("--write", "output", type=click.Path(path_type=Path), help="Write the archive with the settings found.")
@click.option("--plot", type=_FILE, help="Draw latency over throughput, as it is and tuned, into this SVG.")
@click.option("--json", "result", type=_FILE, help="Write every figure into this file.")
@click.option(
    "--concurrency", "levels", default=",".join(map(str, LEVELS)), show_default=True, help="Connections at once."
)
@click.option(
    "--knob", "only", multiple=True, help="Turn only this knob; may be given again  [default: all there are]."
)
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Of one measurement.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="That confirm the outcome.")
@click.option(
    "--serve", "flags", default="", metavar="FLAGS", help="Further flags of `roundhouse serve`: how you will run it."
)
def tune(
    archive: Path,
    p99_ms: float | None,
    p50_ms: float | None,
    also: tuple[Path, ...],
    payload: tuple[Path, ...],
    content_type: str | None,
    output: Path | None,
    plot: Path | None,
    result: Path | None,
    levels: str,
    only: tuple[str, ...],
    seconds: float,
    rounds: int,
    flags: str,
) -> None:
    """Find the settings that serve ARCHIVE best on this host: threads, instances, batching, and precision.

    Starts servers of its own on a copy of the archive, turns one knob after the other under load, and measures what it
    found anew beside the archive as it is. Nothing of yours is changed. A text model takes five to ten minutes;
    nothing else should run on the host meanwhile.

    \b
    The most requests/s within a goal          roundhouse tune minilm.tar.gz --p99-ms 100 --write tuned.tar.gz
    The fastest single answer, no goal         roundhouse tune minilm.tar.gz
    Would int8 do?                             roundhouse tune minilm.tar.gz --also minilm-int8.tar.gz --p99-ms 100
    With requests of yours                     roundhouse tune my_model.tar.gz --payload request.json
    As a picture, and every figure             roundhouse tune minilm.tar.gz --plot curve.svg --json tuned.json

    With a goal, settings are judged by their throughput at the highest concurrency that keeps it; without one by the
    latency of one request at a time (1 % of it counts like 4 % of throughput). `worth` says how much better they are
    than the archive as it is; below 0: how many times the goal was missed. What is taken kept the goal and was better
    in fresh measurements; otherwise the archive stays as it is. Where nothing keeps the goal the exit status is 1.

    What each knob does, and what to believe of the figures: docs/tuning.md.
    """  # noqa: D301 - \b is click's: it keeps the lines of the examples apart
    console = Console()
    goal, at = _goal(p99_ms, p50_ms), _levels(levels)
    if output is not None and output.exists() and output.resolve() == archive.resolve():
        raise click.UsageError("--write must be another place than ARCHIVE, which may be in use")
    try:
        variants = {name: Variant(path, facts_of(path)) for name, path in {"": archive, **_named(also)}.items()}
        sent = from_files(payload, content_type) if payload else made_for(variants[""].facts)
        turned = _knobs(variants, only)
        with _ended_in_order(), Bench(variants, sent, at, seconds, flags.split()) as bench:
            verdict = _search(bench, turned, goal, rounds, console)
            failures = dict(bench.failures)
    except KeyboardInterrupt:
        console.print("stopped; nothing was written")
        raise SystemExit(_INTERRUPTED) from None
    except (TuningFailedError, NoPayloadError, BaselineFailedError) as error:
        raise click.ClickException(f"{archive.name}: {error}") from error
    accuracy = {name or archive.name: variant.facts["parity"] for name, variant in variants.items()}
    _tell(console, verdict, goal, failures, accuracy)
    if plot:
        plot.write_text(picture(f"{archive.name} on this host: {goal}", curves_of(verdict), goal))
        console.print(f"drawn: {plot}")
    if result:
        facts = {"archive": archive.name, "payload": sent.words, "accuracy": accuracy, "serve": flags}
        content = {**facts, **document(verdict, goal, failures), "environment": environment()}
        result.write_text(json.dumps(content, indent=2) + "\n")
        console.print(f"written: {result}")
    _conclude(console, verdict, variants, output)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM does as Ctrl-C: servers end, files go."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _goal(p99_ms: float | None, p50_ms: float | None) -> Goal:
    if p99_ms is not None and p50_ms is not None:
        raise click.UsageError("give one goal: --p99-ms or --p50-ms")
    return Goal(p50_ms, "p50_ms") if p50_ms is not None else Goal(p99_ms, "p99_ms")


def _levels(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and 0 < int(part) <= 4096 for part in parts):
        raise click.BadParameter(
            f"write numbers of connections such as 1,4,16; got {text!r}", param_hint="--concurrency"
        )
    return sorted({int(part) for part in parts})


def _named(also: tuple[Path, ...]) -> dict[str, Path]:
    return {path.name: path for path in also}


def _knobs(variants: dict[str, Variant], only: tuple[str, ...]) -> tuple[Knob, ...]:
    found = knobs(variants[""].facts, len(os.sched_getaffinity(0)), tuple(name for name in variants if name))
    names = [knob.name for knob in found]
    if unknown := [name for name in only if name not in names]:
        raise click.BadParameter(f"no {unknown[0]!r}; there are {', '.join(names) or 'none'}", param_hint="--knob")
    return tuple(knob for knob in found if knob.name in (only or names))


def _search(bench: Bench, turned: tuple[Knob, ...], goal: Goal, rounds: int, console: Console) -> Verdict:
    first = bench.first_answer(BASELINE)
    console.print(f"goal: {goal}; sent: {bench.payload.words}; one answer takes {first * 1e3:.3g} ms", highlight=False)
    console.print(f"knobs: {', '.join(knob.name for knob in turned) or 'none: the curve alone'}", highlight=False)
    search = Search(turned, goal, bench.measure, Thoroughness(confirm_rounds=rounds))
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar, ExitStack() as stack:
        running = bar.add_task("measuring", total=search.most_curves() * len(bench.levels))
        stack.callback(setattr, bench, "tell", bench.tell)
        bench.tell = lambda what: bar.update(running, advance=1, description=what)
        return search.run()


def _tell(
    console: Console, verdict: Verdict, goal: Goal, failures: dict[Any, str], accuracy: dict[str, dict[str, Any]]
) -> None:
    console.print(tried_table(verdict))
    for choice, why in failures.items():
        console.print(f"could not be measured: {choice}: {why}", style="yellow", markup=False)
    console.print(curves_table(verdict.chosen or verdict.last, goal))
    if len(accuracy) > 1:
        for name, parity in accuracy.items():
            console.print(f"accuracy of {name}: {json.dumps(parity) if parity else 'not measured by its builder'}")


def _conclude(console: Console, verdict: Verdict, variants: dict[str, Variant], output: Path | None) -> None:
    """Say what to do, and write it."""
    if verdict.chosen is None:
        raise click.ClickException(
            "nothing keeps the goal, at any concurrency: allow more, or take a smaller model or a "
            "faster host; nothing was written"
        )
    choice = verdict.chosen.choice
    if choice == BASELINE:
        console.print(
            "[bold]keep it as it is[/bold]: nothing that was tried is better, and stays so when measured anew"
        )
    else:
        console.print(f"[bold]best[/bold]: {choice}", highlight=False)
    if output is not None:
        try:
            write(variants[choice.archive], choice, output)
        except TuningFailedError as error:
            raise click.ClickException(str(error)) from error
        console.print(f"written: {output}")
    flags = [f"--{name} {value}" for name, value in choice.of_server().items()]
    if flags:
        console.print(f"and serve it with: roundhouse serve {' '.join(flags)}", highlight=False)


if __name__ == "__main__":
    tune()
