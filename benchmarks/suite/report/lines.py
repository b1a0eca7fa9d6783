"""Throughput against concurrency as SVG: a line per server, named where it ends."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, log
from typing import Final

from benchmarks.suite.figures import short
from benchmarks.suite.report.bars import COLOURS, nice

_WIDTH: Final = 960
_HEIGHT: Final = 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 330, 20, 46
_SPACE: Final = 15.0
"""Between two names."""
_OURS: Final = "#1f6fb4"
_OTHERS: Final = tuple(colour for colour in COLOURS if colour != _OURS)

Line = Sequence[tuple[float, float]]


def lines_chart(lines: Mapping[str, Line], ours: str, limit: tuple[str, float] | None = None) -> str:
    """Points are concurrency and requests a second; `ours` is drawn bold, `limit` as a dashed line across.

    "" where no line has two points.
    """
    lines = {name: sorted(line) for name, line in lines.items() if len(line) > 1}
    if not lines:
        return ""
    ticks = sorted({x for line in lines.values() for x, _ in line})
    most = max([y for line in lines.values() for _, y in line] + ([limit[1]] if limit else []))
    step = nice(most / 5)
    top = ceil(most / step) * step
    inner, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(x: float) -> float:
        return _LEFT + inner * log(x / ticks[0]) / log(ticks[-1] / ticks[0])

    def down(y: float) -> float:
        return _TOP + tall * (1 - y / top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"',
        f' font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for tick in range(round(top / step) + 1):
        y = down(tick * step)
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{inner}" stroke="#e6e8eb"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick * step:,g}</text>')
    below = f'y="{_TOP + tall + 18}" text-anchor="middle"'
    parts += [f'<text x="{across(x):.1f}" {below}>{x:g}</text>' for x in ticks]
    parts.append(f'<text x="{_LEFT + inner / 2}" y="{_HEIGHT - 8}" text-anchor="middle">concurrent requests</text>')
    turn = f'transform="translate(14 {_TOP + tall / 2}) rotate(-90)"'
    parts.append(f'<text {turn} text-anchor="middle">requests/s</text>')
    if limit:
        parts.append(f'<path d="M{_LEFT} {down(limit[1]):.1f}h{inner}" stroke="#555" stroke-dasharray="6 4"/>')
    others = [name for name in lines if name != ours]
    colours = {name: _OTHERS[index % len(_OTHERS)] for index, name in enumerate(others)} | {ours: _OURS}
    for name in [*others, *([ours] if ours in lines else [])]:
        drawn = "L".join(f"{across(x):.1f} {down(y):.1f}" for x, y in lines[name])
        width = 3.5 if name == ours else 1.6
        parts.append(f'<path d="M{drawn}" stroke="{colours[name]}" stroke-width="{width}" fill="none"/>')
    ends = {name: line[-1][1] for name, line in lines.items()} | ({limit[0]: limit[1]} if limit else {})
    parts += _names(ends, colours, ours, {name: down(y) for name, y in ends.items()})
    return "\n".join([*parts, "</svg>", ""])


def _names(ends: Mapping[str, float], colours: Mapping[str, str], ours: str, wanted: Mapping[str, float]) -> list[str]:
    """Each beside the end of its line, moved apart where they would touch."""
    order = sorted(wanted, key=lambda name: wanted[name])
    places = apart([wanted[name] for name in order], _SPACE, _TOP, _HEIGHT - _BOTTOM)
    edge = _WIDTH - _RIGHT
    parts = []
    for name, y in zip(order, places, strict=True):
        colour = colours.get(name, "#555")
        bold = ' font-weight="bold"' if name == ours else ""
        parts.append(f'<path d="M{edge + 2} {wanted[name]:.1f}L{edge + 12} {y:.1f}" stroke="{colour}" fill="none"/>')
        said = f"{short(ends[name])}  {escape(name)}"
        parts.append(f'<text x="{edge + 16}" y="{y + 4:.1f}" fill="{colour}"{bold}>{said}</text>')
    return parts


def apart(wanted: Sequence[float], space: float, low: float, high: float) -> list[float]:
    """Places at least `space` apart and nearest to where they are wanted (ascending), between `low` and `high`."""
    groups: list[list[float]] = []  # of places that touch: the sum of what its members want of its first, their number
    for index, each in enumerate(wanted):
        groups.append([each - index * space, 1.0])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, count = groups.pop()
            groups[-1] = [groups[-1][0] + total, groups[-1][1] + count]
    firsts = [total / count for total, count in groups for _ in range(int(count))]
    most = high - space * (len(wanted) - 1)
    return [max(low, min(first, most)) + index * space for index, first in enumerate(firsts)]
