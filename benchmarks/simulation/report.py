"""The results for people: tables for the terminal, charts for the papers."""

from collections.abc import Iterator
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.simulation.plot import Panel, svg

Row = dict[str, Any]


_SWEEP: Final = ("GB", "policy", "miss %", "x bel.", "load s", "x bel.", "GB moved", "p50 s", "p99 s")
_CAPTION: Final = (
    "load s: per 100 requests; x bel.: times belady's misses, times belady-cost's load-seconds; p50, p99: cold starts"
)


def sweep_tables(label: str, rows: list[Row]) -> Iterator[Table]:
    """A table with and one without sharing: budgets in sections, policies in lines, to fit 80 columns."""
    for shared in (False, True):
        chosen = [row for row in rows if row["sharing"] is shared]
        if not chosen:
            continue
        title = f"{label}, parts {'shared' if shared else 'apart'}, {chosen[0]['requests']:,} requests"
        table = _table(title, _CAPTION)
        for column in _SWEEP:
            table.add_column(column, justify="left" if column == "policy" else "right")
        for before, row in zip([None, *chosen], chosen, strict=False):
            is_first = before is None or before["budget_bytes"] != row["budget_bytes"]
            if before and is_first:
                table.add_section()
            table.add_row(f"{row['budget_bytes'] / 1e9:,.1f}" if is_first else "", *_cells(row))
        yield table


def _table(title: str, caption: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        caption=caption or None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )


def _cells(row: Row) -> Iterator[str]:
    yield row["policy"]
    yield f"{100 * row['miss_ratio']:.2f}"
    yield _times(row["misses_to_belady"])
    yield f"{row['load_seconds_per_100_requests']:,.1f}"
    yield _times(row["load_seconds_to_belady-cost"])
    yield f"{row['gigabytes_moved']:,.0f}"
    yield from (f"{row[f'cold_start_p{q}_s']:.2f}" for q in (50, 99))


def _times(factor: float | None) -> str:
    return "" if factor is None else f"{factor:.2f}"


def certificate_table(certificate: Row) -> Table:
    """Generated against real misses, with the differences."""
    title = "Misses in % at so many equal slots (and points off the real trace)"
    table = _table(title, "")
    for column in ("traffic", "policy", *(f"{slots} slots" for slots in certificate["slots"])):
        table.add_column(column, justify="left" if column in {"traffic", "policy"} else "right")
    last = ""
    for row in certificate["rows"]:
        cells = zip(row["miss_percent"], row["difference_points"], strict=True)
        label, last = "" if row["traffic"] == last else row["traffic"], row["traffic"]
        table.add_row(label, row["policy"], *(f"{value} ({off:+})" for value, off in cells))
    table.add_section()
    for label in ("published_sessions_lru", "published_poisson_lru"):
        table.add_row(label.replace("_", " ").removesuffix(" lru"), "lru", *map(str, certificate[label]))
    return table


def charts(result: Row) -> dict[str, str]:
    """SVG by file name ending: miss ratio and load-seconds against the budget, a panel per traffic and sharing."""
    measures = {
        "miss_ratio": ("Miss ratio by budget", "misses per 100 requests", "miss_ratio", 100.0),
        "load_seconds": (
            "Load-seconds by budget",
            "load-seconds per 100 requests (log)",
            "load_seconds_per_100_requests",
            1.0,
        ),
    }
    drawn = {}
    for name, (title, y_label, field, scale) in measures.items():
        panels = [
            Panel(f"{traffic['label']}, parts {'shared' if shared else 'apart'}", _lines(rows, field, scale))
            for traffic in result["traffic"]
            for shared in (False, True)
            if (rows := [row for row in traffic["rows"] if row["sharing"] is shared])
        ]
        labels = ("budget in GB (logarithmic)", y_label)
        drawn[name] = svg(title, labels, panels, dashed="belady", log_y=name == "load_seconds")
    return drawn


def _lines(rows: list[Row], field: str, scale: float) -> dict[str, list[tuple[float, float]]]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in sorted(rows, key=lambda row: row["budget_bytes"]):
        lines.setdefault(row["policy"], []).append((row["budget_bytes"] / 1e9, scale * row[field]))
    return dict(sorted(lines.items(), key=lambda item: item[0].startswith("belady")))
