"""Reads a Prometheus page into numbers that can be summed and subtracted."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL: Final = re.compile(r'([A-Za-z_]+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Page:
    """A scrape: value by series name and labels."""

    values: Mapping[tuple[str, tuple[tuple[str, str], ...]], float]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series of a name that have these labels; 0 where there is none."""
        return sum(value for _, value in self._matching(name, labels))

    def has(self, name: str) -> bool:
        """Whether the page has a series of this name."""
        return any(series == name for series, _ in self.values)

    def by(self, name: str, label: str) -> dict[str, float]:
        """The sum by one label's value."""
        sums: dict[str, float] = {}
        for found, value in self._matching(name, {}):
            sums[found.get(label, "")] = sums.get(found.get(label, ""), 0.0) + value
        return sums

    def since(self, before: "Page") -> "Page":
        """What was added after `before`; meaningful for counters."""
        return Page({key: value - before.values.get(key, 0.0) for key, value in self.values.items()})

    def _matching(self, name: str, labels: Mapping[str, str]) -> Iterator[tuple[dict[str, str], float]]:
        for (series, pairs), value in self.values.items():
            found = dict(pairs)
            if series == name and labels.items() <= found.items():
                yield found, value


def read(text: str) -> Page:
    """Read the text format; lines that are no samples are left out."""
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for line in text.splitlines():
        if found := _LINE.match(line):
            values[found[1], tuple(sorted(_LABEL.findall(found[2] or "")))] = float(found[3])
    return Page(values)
