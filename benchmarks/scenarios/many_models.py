"""Can one host serve thousands of ensembles from memory for a few? `python -m benchmarks.scenarios.many_models --help`.

A week of made traffic (sessions, Zipf popularity, a day's profile), compressed, comes in an open loop to a real server
whose archives lie in a local S3. Every answer is compared with numpy; memory is looked at five times a second.
"""

import json
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.fleet.archives import Fleet
from benchmarks.fleet.bucket import Bucket, local_s3
from benchmarks.fleet.encoder import Shape
from benchmarks.many_models.measuring import Size, measured, probed
from benchmarks.many_models.probing import Costs
from benchmarks.many_models.report import charts, tables
from benchmarks.many_models.scorecard import NOT_HERE, gains
from benchmarks.many_models.variants import DONE_WHEN, VARIANTS, Variant
from benchmarks.simulation.certificate import RUNS, certificate
from benchmarks.simulation.report import certificate_table
from benchmarks.suite.pace import Pace

RESULT: Final = Path(__file__).parents[1] / "results" / "many_models.json"
QUICK: Final = {"heads": 20, "requests": 4000, "days": 2.0, "minutes": 1.5}
_FLAT_LIST: Final = re.compile(r"\[\s+([-+0-9.,e\s]+?)\s+\]")
"""Numbers in a row: a line each would make a diff of the results unreadable."""


def run(pace: Pace) -> dict[str, Any]:
    """As a part of the suite: in small `main` alone for 200 archives, in full the published figures (half an hour)."""
    small = ("--quick", "--heads", "10", "--requests", "2000", "--variant", "main", "--no-certificate")
    with _folder(None) as folder:
        result = folder / RESULT.name if pace.is_quick else RESULT
        for _ in pace.rounds(1, 1):
            main.main([*small, "--result", str(result)] if pace.is_quick else [], standalone_mode=False)
        return cast("dict[str, Any]", json.loads(result.read_text()))


@click.command(context_settings={"max_content_width": 110})
@click.option(
    "--variant",
    "names",
    multiple=True,
    type=click.Choice([*VARIANTS, "all"]),
    default=DONE_WHEN,
    show_default=True,
    help="What to run; may be given again. Others that the result file already has stay in it.",
)
@click.option("--quick", is_flag=True, help="In small: 400 archives, 4,000 requests, a minute and a half a variant.")
@click.option("--bases", type=click.IntRange(1), default=20, show_default=True, help="Encoders in the fleet.")
@click.option("--heads", type=click.IntRange(1), default=100, show_default=True, help="Archives on each encoder.")
@click.option("--requests", type=click.IntRange(1), default=20_000, show_default=True, help="Length of the traffic.")
@click.option("--days", type=click.FloatRange(1), default=7.0, show_default=True, help="Over how long they come.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=12.0,
    show_default=True,
    help="What that is compressed to.",
)
@click.option(
    "--budget-bases",
    type=click.FloatRange(1),
    default=8.0,
    show_default=True,
    help="The memory budget: so many encoders, each with one head.",
)
@click.option("--layers", type=click.IntRange(1), default=4, show_default=True, help="Depth of an encoder.")
@click.option("--width", type=click.IntRange(8), default=128, show_default=True, help="Width of an encoder.")
@click.option(
    "--form",
    type=click.Choice(["delta", "full"]),
    default="delta",
    show_default=True,
    help="delta: heads of some KB that name their base; full: each archive carries its base.",
)
@click.option("--slo-s", type=click.FloatRange(0), default=1.0, show_default=True, help="What counts as in time.")
@click.option(
    "--timeout-s",
    type=click.FloatRange(1),
    default=120.0,
    show_default=True,
    help="How long a request may take before it counts as failed; also what the server is told.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same fleet and traffic.")
@click.option(
    "--certificate/--no-certificate",
    "certify",
    default=True,
    show_default=True,
    help="Compare the generator's miss curves with the published ones of a real trace.",
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where archives and caches lie meanwhile (a few GB with `apart`)  [default: the system's].",
)
@click.option(
    "--result",
    type=click.Path(path_type=Path, dir_okay=False),
    default=RESULT,
    help="JSON goes here, charts beside it  [default: benchmarks/results/many_models.json].",
)
def main(
    names: tuple[str, ...],
    quick: bool,
    certify: bool,
    scratch: Path | None,
    result: Path,
    **size: Any,
) -> None:
    """Serve a week of traffic for 2,000 archives from memory for 8 bases, and check every answer.

    \b
    The figures of sharing and of tiers (three runs of twelve minutes):
        python -m benchmarks.scenarios.many_models
    One run, and one more that joins it in the result:
        python -m benchmarks.scenarios.many_models --variant main
        python -m benchmarks.scenarios.many_models --variant gdsf
    In small:
        python -m benchmarks.scenarios.many_models --quick --variant main

    \b
    The variants differ from `main` in one thing each:
        main       sharing on, evicted archives stay on disk, lru, sessions, Zipf 0.9
        apart      nothing shared
        no-tiers   evicted archives leave the disk, and come from S3 again
        prefetch   brought one tier up before they are asked for, with a host tier
        gdsf       another policy
        poisson    independent requests: pessimistic, real ones come in sessions
        zipf-1.43  another popularity

    Latency counts from when a request was due. Misses and load-seconds stand beside replays of the same trace within
    the same budget, the offline optimum among them. Compressing time makes loads longer in proportion: what waits
    together for one base is served by one load, which a replay does not know, so a busy server may miss less.
    """  # noqa: D301 - \b is click's: it keeps the lines apart
    if quick:
        size |= {name: value for name, value in QUICK.items() if not _is_given(name)}
    chosen = Size(**size)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is ended
    console = Console()
    variants = [VARIANTS[name] for name in (VARIANTS if "all" in names else dict.fromkeys(names))]
    document = _earlier(result, chosen)
    try:
        with _bar(console) as bar:
            _measure(document, variants, chosen, scratch, result, bar)
            if certify:
                telling = bar.add_task("certificate", total=RUNS)
                document["certificate"] = certificate(lambda _: bar.advance(telling))
    except KeyboardInterrupt:
        done = ", ".join(document["variants"]) or "nothing"
        console.print(f"stopped; finished and written to {result}: {done}")
        raise SystemExit(130) from None
    _save(document, result)
    for table in tables(document):
        console.print(table)
    if document.get("certificate"):
        console.print(certificate_table(document["certificate"]))
    console.print(f"written to {result}, with charts of memory, load and latency beside it")
    if failed := {name: row["failed"] for name, row in document["variants"].items() if row["failed"]}:
        raise SystemExit(f"failed requests: {failed}")


def _is_given(option: str) -> bool:
    """Whether the user asked for it, as opposed to its default."""
    return click.get_current_context().get_parameter_source(option) is not ParameterSource.DEFAULT


def _measure(
    document: dict[str, Any], variants: list[Variant], size: Size, scratch: Path | None, result: Path, bar: Progress
) -> None:
    shape = Shape(layers=size.layers, width=size.width)
    fleet = Fleet(size.bases, size.heads, seed=size.seed, shape=shape)
    with _folder(scratch) as folder, local_s3(folder) as endpoint:
        store, costs = (
            Bucket(endpoint, "archives"),
            _costs(document, variants, lambda: probed(endpoint, folder, fleet, size)),
        )
        filling = bar.add_task("making archives", total=len(fleet.members) + size.bases * (size.form == "delta"))
        sizes = store.fill(fleet.archives(size.form, costs.step_bytes), lambda _: bar.advance(filling))
        document["store_mb"] = round(sum(sizes.values()) / 1e6, 1)
        document["costs"] = costs.document()
        for variant in variants:
            task = bar.add_task(variant.name, total=size.requests)
            document["variants"][variant.name] = measured(
                variant, size, fleet, store, folder, costs, _told(bar, task, variant)
            )
            document["gains"] = gains(document["variants"])
            _save(document, result)


def _costs(document: dict[str, Any], variants: list[Variant], probe: Callable[[], Costs]) -> Costs:
    """Those that the file has, where runs of it stay: only within one budget do variants compare."""
    stays = document["variants"].keys() - {variant.name for variant in variants}
    return Costs(**document["costs"]) if stays and document["costs"] else probe()


@contextmanager
def _folder(scratch: Path | None) -> Iterator[Path]:
    """A folder of its own, gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="many-models-", dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bar(console: Console) -> Progress:
    return Progress(
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"), console=console
    )


def _told(bar: Progress, task: TaskID, variant: Variant) -> Callable[[int, int], None]:
    total = bar.tasks[task].total or 1
    steps = {round(total * tenth / 10): tenth for tenth in range(1, 10)}

    def told(answered: int, wrong: int) -> None:
        bar.update(task, completed=answered, description=f"{variant.name}: {wrong or 'none'} failed")
        if answered in steps and not bar.console.is_terminal:  # where no bar is drawn before the end
            bar.console.print(f"{variant.name}: {10 * steps[answered]} % answered, {wrong or 'none'} failed")

    return told


def _earlier(result: Path, size: Size) -> dict[str, Any]:
    """What the file has of the same size; variants of another size would not compare, and go."""
    fresh: dict[str, Any] = {
        "scenario": "many_models",
        "question": (__doc__ or "").splitlines()[0],
        "settings": asdict(size),
        "not_here": NOT_HERE,
        "costs": {},
        "gains": {},
        "variants": {},
        "certificate": None,
    }
    if not result.is_file():
        return fresh
    found = cast("dict[str, Any]", json.loads(result.read_text()))
    return found if found.get("settings") == fresh["settings"] else fresh


def _save(document: dict[str, Any], result: Path) -> None:
    result.parent.mkdir(parents=True, exist_ok=True)
    text = _FLAT_LIST.sub(lambda found: "[" + " ".join(found[1].split()) + "]", json.dumps(document, indent=1))
    result.write_text(text + "\n")
    for name, chart in charts(document).items():
        result.with_name(f"{result.stem}_{name}.svg").write_text(chart)


if __name__ == "__main__":
    main()
