"""`python -m benchmarks`: run scenarios, write the report, compare two results."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.environment import environment
from benchmarks.suite import catalogue, documents
from benchmarks.suite.comparing import Change, Incomparable, compare
from benchmarks.suite.figures import Figure, short, words
from benchmarks.suite.pace import Pace
from benchmarks.suite.readme import PLOT, NoMarks, block, plot, replaced
from benchmarks.suite.report.page import page
from benchmarks.suite.terminal import shown

_INTERRUPTED: Final = 130
Run = Callable[[str, Pace], dict[str, Any]]


def _questions() -> str:
    """For `--help`: each scenario with its question, a line each."""
    lines = [f"{name:17} {catalogue.question(name)}" for name in catalogue.SCENARIOS]
    # \b is click's: it keeps the lines apart
    return "\n".join(["\b", "Scenarios:", *(f"  {line}" for line in lines)])


@click.command("benchmarks", context_settings={"max_content_width": 130}, epilog=_questions())
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@click.option(
    "--quick", is_flag=True, help="Every scenario in small: fewer and shorter rounds, and the result says so."
)
@click.option("--peers", is_flag=True, help="Also measure other servers on the same load, where a scenario has them.")
@click.option("--peer", "chosen_peers", multiple=True, metavar="NAME", help="Only this one, in the scenario `peers`.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where results and report go  [default: benchmarks/results, with --quick benchmarks/results/quick].",
)
def measure(
    names: tuple[str, ...], *, quick: bool, peers: bool, chosen_peers: tuple[str, ...], into: Path | None
) -> None:
    """Measure scenarios, all unless some are named, and write a JSON result of each and a report of all.

    \b
    All in small (less than a quarter of an hour on two cores), or one in full:
        python -m benchmarks --quick
        python -m benchmarks overhead
    The same model and load on other servers, beside Roundhouse; they are installed into var/peers first:
        python -m benchmarks peers
        python -m benchmarks peers --peer litserve --peer triton
    What has changed, and a page to read:
        python -m benchmarks compare BEFORE.json AFTER.json
        python -m benchmarks report

    Needed: `make archives`; with `make triton` some scenarios also measure a real Triton, with `make wrk` closed loops
    are driven by wrk. Nothing else should run on
    the machine meanwhile. A result is written when its scenario is finished: Ctrl-C loses the one that is running,
    a failure loses its own, and the exit status says so (1 failed, 130 interrupted).
    """  # noqa: D301 - \b is click's: it keeps the lines apart
    if unknown := [name for name in names if name not in catalogue.SCENARIOS]:
        raise click.UsageError(f"{unknown[0]!r} is not a scenario; there are: {', '.join(catalogue.SCENARIOS)}")
    from benchmarks.baselines.peers.catalogue import named  # with the engine and more, which `--help` need not load

    try:
        named(chosen_peers)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is ended
    where = into or documents.folder(is_quick=quick)
    chosen = tuple(dict.fromkeys(names)) or catalogue.SCENARIOS
    status = measure_all(chosen, where, Console(), is_quick=quick, with_peers=peers, peers=chosen_peers)
    raise SystemExit(status)


def measure_all(
    names: tuple[str, ...],
    where: Path,
    console: Console,
    *,
    is_quick: bool = False,
    with_peers: bool = False,
    peers: tuple[str, ...] = (),
    run: Run = catalogue.run,
) -> int:
    """Run each, write each result as soon as it is there, and the report in the end; returns the exit status."""
    failed: dict[str, str] = {}
    done: list[str] = []
    was_interrupted = False
    for index, name in enumerate(names):
        console.print(f"[bold]{name}[/bold] ({index + 1} of {len(names)})")
        expected = documents.took_s(name, where)
        pace = Pace(is_quick, with_peers, peers, lambda line: _tell(console, line), expected)
        try:
            document = _measured(name, pace, run)
        except KeyboardInterrupt:
            was_interrupted = True
            break
        except (Exception, SystemExit) as error:
            failed[name] = f"{error}" or type(error).__name__
            console.print(f"  failed: {failed[name]}", style="red", markup=False)
            continue
        done.append(name)
        file = documents.save(document, where)
        for table in shown(document):
            console.print(table)
        console.print(f"  {document['took_s']:.0f} s; written to {_near(file)}", highlight=False)
    if done:
        console.print(f"report: {_near(_write_report(where))}", highlight=False)
    for name, why in failed.items():
        console.print(f"failed: {name}: {why}", style="red", markup=False)
    if was_interrupted:
        console.print(f"stopped; finished and written: {', '.join(done) or 'nothing'}")
        return _INTERRUPTED
    return 1 if failed else 0


def _tell(console: Console, line: str) -> None:
    console.print(f"  {line}", style="dim", highlight=False, markup=False)


def _measured(name: str, pace: Pace, run: Run) -> dict[str, Any]:
    """The document with what every one has."""
    began, busy = perf_counter(), os.getloadavg()[0]
    try:
        document = run(name, pace)
    except SystemExit as error:
        if error.code == _INTERRUPTED:
            raise KeyboardInterrupt from error
        raise
    return {
        **document,
        "is_quick": pace.is_quick,
        "took_s": round(perf_counter() - began, 1),
        "load_average_before": round(busy, 1),
        "environment": environment(),
    }


@click.command("benchmarks report")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=documents.RESULTS)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page  [default: report.html in the folder].",
)
@click.option(
    "--readme",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Also write the main table between this file's marks, and its plot into FOLDER.",
)
def report(folder: Path, output: Path | None, readme: Path | None) -> None:
    """Write one self-contained HTML page from the results in FOLDER (benchmarks/results unless named)."""
    if readme is not None:
        try:
            write_readme(readme, folder)
        except (NoMarks, documents.NoResult) as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"written to {_near(readme)} and {_near(folder / PLOT)}")
    click.echo(f"written to {_near(_write_report(folder, output))}")


def write_readme(readme: Path, folder: Path) -> None:
    """The main table and its plot, from the results in a folder. Raises NoMarks, NoResult."""
    document = documents.main(folder)
    readme.write_text(replaced(readme.read_text(), block(document)))
    (folder / PLOT).write_text(plot(document))


def _write_report(folder: Path, output: Path | None = None) -> Path:
    file = output or folder / "report.html"
    file.write_text(page(documents.read_all(folder)))
    return file


@click.command("benchmarks compare")
@click.argument("before", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("after", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--all", "with_all", is_flag=True, help="Also figures that lie within the spread.")
def compare_results(before: Path, after: Path, *, with_all: bool) -> None:
    """Show what differs between two results of one scenario by more than their rounds do.

    A figure counts as changed where the spreads of the two do not touch. Results of different scenarios, machines or
    forms (quick and full) are refused: only ratios within one run compare across machines.
    """
    try:
        changes = compare(documents.read(before), documents.read(after))
    except (documents.NoResult, Incomparable) as error:
        raise click.ClickException(str(error)) from error
    told = [change for change in changes if with_all or change.verdict]
    if told:
        Console().print(_changes(told))
    click.echo(
        f"{sum(bool(each.verdict) for each in changes)} of {len(changes)} figures differ by more than the spread"
    )


def _changes(changes: list[Change]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("figure", "before", "after", "ratio", ""):
        table.add_column(column, justify="left" if column in {"figure", ""} else "right")
    for each in changes:
        ratio = "" if each.ratio is None else f"{each.ratio:.3f}"
        table.add_row(words(each.name), _cell(each.before), _cell(each.after), ratio, each.verdict)
    return table


def _cell(known: Figure) -> str:
    return f"{short(known.value)} [dim]{short(known.low)}-{short(known.high)}[/dim]"


def _near(file: Path) -> str:
    """As the user would type it."""
    here = Path.cwd()
    return str(file.resolve().relative_to(here)) if file.resolve().is_relative_to(here) else str(file)


def main(arguments: list[str], program: str = "python -m benchmarks") -> None:
    """The two other verbs are told apart by the first word, so that scenarios need none."""
    verbs = {"report": report, "compare": compare_results}
    if arguments and arguments[0] in verbs:
        verbs[arguments[0]].main(arguments[1:], prog_name=f"{program} {arguments[0]}")
    measure.main(arguments, prog_name=program)


@click.command("bench", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure scenarios, report and compare results: what `python -m benchmarks` does."""
    main(list(arguments), "roundhouse bench")
