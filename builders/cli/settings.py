"""`roundhouse build settings`."""

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from builders.cli.options import say_next
from builders.pipeline.progress import CONSOLE


@click.command("settings")
@click.argument("archive", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="STEP.SETTING=VALUE",
    help="A setting and its new value; nothing after the = leaves it to the server. May be given again.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder to write; needed with --set.")
@click.option("--json", "is_json", is_flag=True, help="What can be set as one JSON object, for scripts.")
def settings(archive: Path, changes: tuple[str, ...], output: Path | None, is_json: bool) -> None:
    """Show or change how a finished archive's steps run: threads, instances, batching. What they compute stays.

    \b
    threads     of one execution of an ONNX step on a CPU, or of a DALI pipeline
    instances   executions side by side
    preferred   batch sizes to gather, such as 8+16, and
    delay_us    how long to wait for them: where config.pbtxt says dynamic_batching

    \b
    What can be set, and what is       roundhouse build settings minilm.tar.gz
    One thread for each execution      roundhouse build settings minilm.tar.gz --set encoder.threads=1 -o one.tar.gz
    Let measurements decide            roundhouse tune minilm.tar.gz --write tuned.tar.gz

    Steps that are not named stay as they are, and are shared with the original in memory. Needs neither torch nor onnx.
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    from builders.pipeline.settings_archive import described, with_settings

    if not changes and output is None:
        _show(described(archive), is_json=is_json)
        return
    if output is None:
        raise click.UsageError("--set changes nothing in place: say with -o where the new archive goes")
    if output.exists() and output.resolve() == archive.resolve():
        raise click.UsageError("-o must be another place than ARCHIVE, which may be in use")
    say_next(with_settings(archive, dict(_parsed(change) for change in changes), output))


def _parsed(text: str) -> tuple[tuple[str, str], str]:
    place, equals, value = text.partition("=")
    step, dot, name = place.rpartition(".")
    if not (equals and dot and step and name):
        raise click.BadParameter(
            f"write STEP.SETTING=VALUE, such as encoder.threads=1; got {text!r}", param_hint="--set"
        )
    return (step, name), value


def _show(facts: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        click.echo(json.dumps(facts, indent=2))
        return
    table = Table("step", "backend", "setting", "value", title=f"{facts['entry']}: {facts['task'] or 'no task'}")
    for step, each in facts["steps"].items():
        for name, value in each["settings"].items():
            table.add_row(step, each["backend"], name, value or "[dim]the server's[/dim]")
    CONSOLE.print(table)
