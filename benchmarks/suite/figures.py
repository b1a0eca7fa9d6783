"""What a result document holds: figures with their spread, in rows, in tables. Pure.

A figure is a number; beside it `NAME_min_max` has its spread over the rounds. A table is any object of the document
whose values are all rows, and a row is an object with at least one number of its own: scenarios write plain JSON, and
whoever reads it needs no list of scenarios.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

SPREAD: Final = "_min_max"
APART: Final = frozenset({"environment", "settings"})
"""Parts of a document that hold no figures."""
NOT_MEASURED: Final = frozenset({"rounds", "took_s", "load_average_before"})
"""Numbers of a document that say how it came about."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """A median and its spread; without a spread `low` and `high` are the value itself."""

    value: float
    low: float
    high: float
    has_spread: bool = True


def spread(name: str, values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """A figure as documents hold it: the median and, beside it, the smallest and the largest.

    Raises:
        statistics.StatisticsError: there are no values.
    """
    return {
        name: round(median(values), digits),
        name + SPREAD: [round(min(values), digits), round(max(values), digits)],
    }


def over_rounds(rounds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """A row of figures from one mapping per round, all with the same keys."""
    return {key: value for name in rounds[0] for key, value in spread(name, [row[name] for row in rounds]).items()}


def ratios(name: str, over: Sequence[float], under: Sequence[float]) -> dict[str, Any]:
    """A figure of ratios taken within each round, so that a slow minute hits both sides."""
    return spread(name, [a / b for a, b in zip(over, under, strict=True)])


def figure(row: Row, name: str) -> Figure | None:
    """The figure `name` of a row, or None where it has no such number."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = row.get(name + SPREAD)
    if isinstance(found, list) and len(found) == 2:
        return Figure(float(value), float(found[0]), float(found[1]))
    return Figure(float(value), float(value), float(value), has_spread=False)


def names(row: Row) -> list[str]:
    """The names of a row's figures, in order."""
    return [name for name in row if not name.endswith(SPREAD) and figure(row, name) is not None]


def tables(document: Row, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Row]]]:
    """Every table of a document with where it lies, `triton / tiers`. Single rows come as tables of one."""
    alone: dict[str, Row] = {}
    if not path and (overall := {name: document[name] for name in _overall(document)}):
        yield "overall", {"": overall}
    for key, value in document.items():
        if not isinstance(value, Mapping) or key in APART or not value:
            continue
        if _is_table(value):
            yield " / ".join((*path, key)), value
        elif names(value):
            alone[key] = value
    if alone:
        yield " / ".join((*path, "beside it" if path else "for comparison")), alone
    for key, value in document.items():
        if isinstance(value, Mapping) and key not in APART and value and not _is_table(value):
            yield from tables(value, (*path, key))


def _overall(document: Row) -> list[str]:
    """The names of figures that a document has for itself, and of their spreads."""
    found = [name for name in names(document) if name not in NOT_MEASURED]
    return [each for name in found for each in (name, name + SPREAD) if each in document]


def parts(row: Row) -> dict[str, Mapping[str, float]]:
    """What a row's figures are made of, by name: objects of numbers that are called `phases...`."""
    return {
        name: value for name, value in row.items() if name.startswith("phases") and isinstance(value, Mapping) and value
    }


def figures(document: Row, path: tuple[str, ...] = ()) -> dict[str, Figure]:
    """Every figure of a document by where it lies: `served / 16 / p50_ms`."""
    found: dict[str, Figure] = {}
    for key, value in document.items():
        if key in APART or key in NOT_MEASURED or key.endswith(SPREAD):
            continue
        if isinstance(value, Mapping):
            found |= figures(value, (*path, key))
        elif (known := figure(document, key)) is not None:
            found[" / ".join((*path, key))] = known
    return found


def _is_table(value: Row) -> bool:
    return all(isinstance(row, Mapping) and names(row) for row in value.values())


def words(name: str) -> str:
    """A field's name for people: `requests_per_s` becomes `requests/s`, `p50_vs_bare` becomes `p50 / bare`."""
    for code, said in (("_per_s", "/s"), ("_per_", " per "), ("_vs_", " / ")):
        name = name.replace(code, said)
    return name.replace("_", " ")


def short(value: float) -> str:
    """A number as people write it: four digits where they say something, no more than three after the point."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}" if value == round(value) else f"{value:.1f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}".removesuffix(".0")
