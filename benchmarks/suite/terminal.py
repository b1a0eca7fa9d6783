"""Results as tables in a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmarks.suite.figures import Row, figure, names, parts, short, tables, words


def shown(document: Mapping[str, Any]) -> Iterator[Table]:
    """A table for each of the document's, medians with their spread."""
    for title, rows in tables(document):
        yield _table(title, rows)


def _table(title: str, rows: Mapping[str, Row]) -> Table:
    columns = list(dict.fromkeys(name for row in rows.values() for name in names(row)))
    table = Table(title=escape(words(title)), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for column in columns:
        table.add_column(words(column), justify="right")
    made_of = list(dict.fromkeys(name for row in rows.values() for name in parts(row)))
    for column in made_of:
        table.add_column(words(column))
    for name, row in rows.items():
        of = (
            ", ".join(f"{part} {short(value)}" for part, value in parts(row).get(each, {}).items()) for each in made_of
        )
        table.add_row(escape(words(name)), *(_cell(row, column) for column in columns), *of)
    return table


def _cell(row: Row, column: str) -> str:
    known = figure(row, column)
    if known is None:
        return ""
    around = f" [dim]{short(known.low)}-{short(known.high)}[/dim]" if known.has_spread else ""
    return short(known.value) + around
