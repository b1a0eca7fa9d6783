"""One log, some policies, the optimum: a table and a chart for the operator who has to choose."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.simulation.budgets import written
from benchmarks.simulation.plot import Panel, svg
from benchmarks.simulation.policies import OFFLINE

Row = dict[str, Any]
BOUND: Final = "(no schedule)"
_COLUMNS: Final = ("budget", "policy", "miss %", "x opt.", "load s", "x opt.", "loaded", "evictions")
_CAPTION: Final = (
    "load s: per 100 requests. x opt.: times the better of belady and belady-cost, which know the future.\n"
    f"{BOUND}: what nobody can beat, whatever is decided."
)


def add_distances(rows: Sequence[Row]) -> None:
    """Say in each row how many times the misses and load-seconds of the best offline schedule in its budget it has."""
    for row in rows:
        rivals = [each for each in rows if each["budget_bytes"] == row["budget_bytes"] and each["policy"] in OFFLINE]
        for measure in ("misses", "load_seconds"):
            best = min((each[measure] for each in rivals), default=0)
            row[f"{measure}_to_optimum"] = round(row[measure] / best, 3) if best else None


def table(title: str, rows: Sequence[Row]) -> Table:
    """Budgets in sections, policies in lines, to fit 80 columns. The rows have distances."""
    drawn = Table(
        title=title,
        title_justify="left",
        caption=_CAPTION,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in _COLUMNS:
        drawn.add_column(column, justify="left" if column == "policy" else "right", no_wrap=True)
    for budget in sorted({row["budget_bytes"] for row in rows}):
        chosen = [row for row in rows if row["budget_bytes"] == budget]
        for index, row in enumerate(chosen):
            drawn.add_row(written(budget) if index == 0 else "", *_cells(row))
        floor_s = 100 * chosen[0]["floor_load_seconds"] / max(chosen[0]["requests"], 1)
        drawn.add_row("", BOUND, f"{100 * chosen[0]['floor_miss_ratio']:.2f}", "", f"{floor_s:,.2f}", "", "", "")
        drawn.add_section()
    return drawn


def _cells(row: Row) -> Iterator[str]:
    yield row["policy"]
    yield f"{100 * row['miss_ratio']:.2f}"
    yield _times(row["misses_to_optimum"])
    yield f"{row['load_seconds_per_100_requests']:,.2f}"
    yield _times(row["load_seconds_to_optimum"])
    yield written(row["bytes_loaded"])
    yield f"{row['evictions']:,}"


def _times(factor: float | None) -> str:
    return "" if factor is None else f"{factor:.2f}"


def chart(title: str, rows: Sequence[Row]) -> str:
    """SVG: misses and load-seconds per 100 requests against the budget, side by side."""
    panels = [
        Panel("misses", _lines(rows, "miss_ratio", 100)),
        Panel("load-seconds", _lines(rows, "load_seconds_per_100_requests", 1)),
    ]
    return svg(title, ("budget in GB (logarithmic)", "per 100 requests"), panels, dashed="belady")


def _lines(rows: Sequence[Row], field: str, scale: float) -> dict[str, list[tuple[float, float]]]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in sorted(rows, key=lambda row: (row["policy"] in OFFLINE, row["budget_bytes"])):
        lines.setdefault(row["policy"], []).append((row["budget_bytes"] / 1e9, scale * row[field]))
    return lines
