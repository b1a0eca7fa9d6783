"""What the page says about one result: its tables and its charts, found by their form. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil
from typing import Any, Final

from benchmarks.many_models import report as many_models
from benchmarks.simulation.plot import Panel, svg
from benchmarks.suite.figures import Figure, Row, figure, names, parts, tables, words
from benchmarks.suite.readme import OURS
from benchmarks.suite.report.bars import Ratio, nice, ratio_chart, stacked_chart
from benchmarks.suite.report.lines import lines_chart

MOST_ROWS: Final = 30
_MOST_RATIOS: Final = 60
_PEERS: Final = "peers / "
_BY_CONCURRENCY: Final = ("served", "direct")
"""How tables end whose rows are concurrencies."""
_LATENCIES: Final = ("p50_ms", "p99_ms")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: cells are texts, or figures with their spread."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str | Figure]]]


@dataclass(frozen=True, slots=True)
class Section:
    """One scenario's part of the page. `charts` are titled SVGs."""

    name: str
    question: str
    grids: Sequence[Grid]
    charts: Sequence[tuple[str, str]]
    document: Mapping[str, Any]


def section(document: Mapping[str, Any]) -> Section:
    """Everything there is to show of a result document."""
    name = str(document["scenario"])
    if "variants" in document:
        grids, charts = list(_rich_grids(document)), _many_models_charts(document)
    else:
        grids, charts = [_grid(title, rows) for title, rows in tables(document)], list(_charts(document))
    asked = str(document.get("question", ""))
    return Section(name, asked[: asked.find("?") + 1] or asked, grids, charts, document)


def _grid(title: str, rows: Mapping[str, Row]) -> Grid:
    columns = list(dict.fromkeys(name for row in rows.values() for name in names(row)))
    shown = list(rows.items())[:MOST_ROWS]
    left_out = f" (the first {MOST_ROWS} of {len(rows)} rows)" if len(rows) > MOST_ROWS else ""
    return Grid(
        words(title) + left_out,
        [words(column) for column in columns],
        [(words(name), [figure(row, column) or "" for column in columns]) for name, row in shown],
    )


def _charts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    found = list(tables(document))
    if drawn := _throughput_chart(found):
        yield "Throughput against concurrency", drawn
    for title, rows in found:
        if title.startswith(_PEERS):
            continue  # one chart for all of them is above
        if drawn := _latency_chart(rows):
            yield f"Latency against throughput: {words(title)}", drawn
    for title, rows in found:
        phases = {name: _phases(row) for name, row in rows.items() if parts(row)}
        if drawn := stacked_chart(phases, "ms"):
            yield f"Where the time goes: {words(title)}", drawn
    ratios = [
        Ratio(_ratio_name(title, row_name, name), known)
        for title, rows in found
        for row_name, row in rows.items()
        for name in names(row)
        if ("_vs_" in name or name.startswith("vs_")) and not (title.startswith(_PEERS) and "p50" in name)
        if (known := figure(row, name))
    ]
    if drawn := ratio_chart(ratios[:_MOST_RATIOS]):
        yield "Ratios within one run, with their spread over the rounds", drawn


def _ratio_name(title: str, row: str, name: str) -> str:
    if title.startswith(_PEERS):
        return f"over {title.removeprefix(_PEERS)} at {row}"
    return words(" / ".join(filter(None, (title, row))) + ": " + name.replace("_vs_", " over "))


def _phases(row: Row) -> dict[str, float]:
    """The phases one after the other: those of single steps lie within `load`."""
    (found,) = list(parts(row).values())[:1]
    return {name: value for name, value in found.items() if not name.startswith(("step ", "warm-up"))}


def _throughput_chart(found: Sequence[tuple[str, Mapping[str, Row]]]) -> str:
    """A line for each table whose rows are concurrencies; "" where there is none."""
    lines = {
        OURS if title == "served" else words(title.removeprefix(_PEERS)): [
            (float(name), float(row["requests_per_s"]))
            for name, row in rows.items()
            if name.isdigit() and figure(row, "requests_per_s")
        ]
        for title, rows in found
        if title.startswith(_PEERS) or title.endswith(_BY_CONCURRENCY)
    }
    return lines_chart(lines, OURS)


def _latency_chart(rows: Mapping[str, Row]) -> str:
    """Lines through the rows that are concurrencies, or rates of an open loop; "" where there are fewer than two."""
    points = [row for row in rows.values() if figure(row, "offered_per_s")]
    said = "open loop"
    if not points:
        points = [row for name, row in rows.items() if name.isdigit() and figure(row, "requests_per_s")]
        said = f"concurrency {', '.join(name for name in rows if name.isdigit())}"
    if len(points) < 2:
        return ""
    lines = {
        words(name): [(float(row["requests_per_s"]), float(row[name])) for row in points if figure(row, name)]
        for name in _LATENCIES
    }
    most = max(x for line in lines.values() for x, _ in line)
    labels = ("requests/s (one point per load)", "ms (logarithmic)")
    panel = Panel(said, lines)
    step = nice(most / 4)
    ticks = [round(step * index, 6) for index in range(ceil(most / step - 1e-9) + 1)]
    return svg("", labels, [panel], columns=1, log_y=True, log_x=False, x_ticks=ticks)


def _rich_grids(document: Mapping[str, Any]) -> Iterator[Grid]:
    """The scorecard's tables, as the terminal shows them."""
    for table in many_models.tables(document):
        columns = [str(column.header) for column in table.columns]
        cells = list(zip(*(list(map(str, column.cells)) for column in table.columns), strict=True))
        yield Grid(str(table.title), columns[1:], [(row[0], row[1:]) for row in cells])


def _many_models_charts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(escape(name), drawn) for name, drawn in many_models.charts(document).items()]
