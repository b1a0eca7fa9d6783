"""`roundhouse archive`: look into archives, check them, make them."""

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from server.archive.delta import make_delta
from server.archive.inspection import ArchiveFacts, StepFacts, inspect
from server.archive.lint import Findings, lint
from server.archive.pack import DEFAULT_LEVEL, pack
from server.archive.unpack import unpack
from server.domain.errors import RoundhouseError

_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
_DIGEST_SHOWN: Final = 12
_PATH: Final = click.Path(exists=True, path_type=Path)


@click.group(context_settings=_SETTINGS)
def archive() -> None:
    """Look into model archives, check them, and make them.

    An archive is a Triton model repository, as a folder or packed (.tar.gz, .tgz, .tar.zst, .tar): one folder per
    model, with config.pbtxt and a version folder in each. A roundhouse.json beside them may name the task and the
    model that requests are sent to.

    \b
    roundhouse archive inspect minilm.tar.gz       its steps, what they take and give, which digests it shares
    roundhouse archive lint my_repository/         what keeps it from being served, and what to do about it
    roundhouse archive pack my_repository/ -o my_model.tar.gz
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped


@archive.command("inspect", context_settings=_SETTINGS)
@click.argument("path", type=_PATH)
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of a tree, for scripts.")
def inspect_archive(path: Path, is_json: bool) -> None:
    """Show what is inside the archive PATH (a file or a folder).

    Steps with equal digests are loaded once, however many archives hold them: compare two archives' digests to see
    what they share. A "~" marks a digest that will change, as the engine first completes the step's config.

    \b
    roundhouse archive inspect minilm.tar.gz
    roundhouse archive inspect --json minilm.tar.gz | jq -r '.steps[].digest'
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    with _told(path), _opened(path) as root:
        facts = inspect(root)
    if is_json:
        click.echo(json.dumps(dataclasses.asdict(facts), indent=2))
    else:
        Console().print(_tree(path.name, facts), soft_wrap=True)


@archive.command("lint", context_settings=_SETTINGS)
@click.argument("path", type=_PATH)
def lint_archive(path: Path) -> None:
    """Check the archive PATH (a file or a folder) without loading it.

    Prints every problem with what to do about it, and exits with 1 if there is one. Notes alone are no problem.

    \b
    roundhouse archive lint minilm.tar.gz
    for file in archives/*.tar.gz; do roundhouse archive lint "$file" || echo "$file"; done
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    with _told(path), _opened(path) as root:
        findings = lint(root)
    _print_findings(findings)
    if findings.problems:
        raise click.exceptions.Exit(1)
    click.echo(f"{path.name} is fine")


@archive.command("pack", context_settings=_SETTINGS)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The archive to write."
)
@click.option("--level", default=DEFAULT_LEVEL, show_default=True, type=click.IntRange(1, 9), help="Compression level.")
@click.option("--lint/--no-lint", "is_linted", default=True, help="Refuse to pack what could not be served.")
def pack_archive(folder: Path, output: Path, level: int, is_linted: bool) -> None:
    """Pack the Triton repository FOLDER into an archive.

    The same files always give the same bytes: no times, no owners, sorted names. Hidden files, __pycache__ and
    __MACOSX stay behind. The suffix chooses the format: .tar.gz, .tgz, .tar.zst (faster to unpack) or .tar.

    \b
    roundhouse archive pack my_repository/ -o my_model.tar.gz
    roundhouse archive pack my_repository/ -o my_model.tar.zst --level 9
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    with _told(folder):
        findings = lint(folder) if is_linted else Findings(())
        _print_findings(findings)
        if findings.problems:
            raise click.ClickException(f"{folder.name} was not packed; --no-lint packs it all the same")
        pack(folder, output, level)
    click.echo(f"{output.name}: {_size(output.stat().st_size)}")


@archive.command("delta", context_settings=_SETTINGS)
@click.argument("path", type=_PATH)
@click.option("--base", required=True, type=_PATH, help="An archive that has much of it.")
@click.option("--base-name", help="What the store calls the base  [default: its file name].")
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The archive to write."
)
@click.option("--level", default=DEFAULT_LEVEL, show_default=True, type=click.IntRange(1, 9), help="Compression level.")
def delta_archive(path: Path, base: Path, base_name: str | None, output: Path, level: int) -> None:
    """Pack PATH without what the base has: equal steps, and equal large files of the others.

    The server takes them from the base, by digest. Both must lie in the same store; nothing is fetched or kept twice.

    \b
    roundhouse archive delta tuned.tar.gz --base minilm.tar.gz -o tuned-delta.tar.gz
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    scratch = tempfile.TemporaryDirectory(prefix="roundhouse-")
    with _told(path), _opened(path) as root, _opened(base) as lender, scratch as folder:
        left_out = make_delta(root, lender, base_name or base.name, Path(folder, "delta"))
        pack(Path(folder, "delta"), output, level)
    for name in left_out.steps:
        click.echo(f"left out: step {name}")
    for name, files in left_out.files.items():
        for file, need in files.items():
            click.echo(f"left out: {name}/{file}, {_size(need.size_bytes)}")
    click.echo(f"{output.name}: {_size(output.stat().st_size)}; {_size(left_out.saved_bytes)} are in the base")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """A folder as it is, a file unpacked for as long as it is needed."""
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="roundhouse-") as folder, path.open("rb") as file:
        unpack(file, Path(folder))
        yield Path(folder)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Our errors as one line, without a traceback."""
    try:
        yield
    except (RoundhouseError, OSError) as error:
        raise click.ClickException(f"{path.name}: {error}") from error


def _print_findings(findings: Findings) -> None:
    for problem in findings.problems:
        click.echo(f"problem: {problem}", err=True)
    for note in findings.notes:
        click.echo(f"note: {note}", err=True)


def _tree(name: str, facts: ArchiveFacts) -> Tree:
    title = f"[bold]{escape(name)}[/]"
    if facts.task:
        title += f"  task {escape(facts.task)}"
    if facts.description:
        title += f"\n{escape(facts.description)}"
    tree = Tree(title)
    for step in reversed(facts.steps):
        branch = tree.add(_headline(step, is_entry=step.name == facts.entry))
        for kind, tensors in (("in ", step.inputs), ("out", step.outputs)):
            for tensor, shape in tensors.items():
                branch.add(f"{kind} {escape(tensor)}  {escape(shape)}")
        if step.calls:
            branch.add(f"calls {escape(', '.join(step.calls))}")
    for need in facts.needs:
        tree.add(f"{escape(need.name)}  {need.digest[:_DIGEST_SHOWN]}  [cyan]from {escape(need.archive)}[/]")
    for file in facts.needed_files:
        tree.add(f"{escape(file.path)}  {_size(file.size_bytes)}  [cyan]from {escape(file.archive)}[/]")
    for unused in facts.unused:
        tree.add(f"[dim]{escape(unused)}  (never called by the entry, not loaded)[/]")
    return tree


def _headline(step: StepFacts, *, is_entry: bool) -> str:
    digest = step.digest[:_DIGEST_SHOWN] + ("" if step.is_complete else "~")
    footprint = "".join(f"  {escape(device)} {_size(count)}" for device, count in step.footprint_bytes.items())
    return (
        f"[bold]{escape(step.name)}[/]  {digest}  {escape(step.backend)}  {_size(step.file_bytes)}{footprint}"
        f"{'  [green]entry[/]' if is_entry else ''}"
    )


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
