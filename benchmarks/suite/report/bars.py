"""Horizontal charts as SVG: ratios as dots with their spread around 1, and sums as stacked bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

from benchmarks.suite.figures import Figure, short

COLOURS: Final = (
    "#9aa5b1", "#1f6fb4", "#6fb7e9", "#2a9d5c", "#e0b040", "#d1495b", "#7a5195", "#444b54", "#b07d4f", "#4fb0a5",
)  # fmt: skip
_WIDTH: Final = 960
_LABEL: Final = 440
_RIGHT: Final = 70
_ROW: Final = 24
_TOP: Final = 16
_STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio with what it is called."""

    label: str
    figure: Figure


def ratio_chart(ratios: Sequence[Ratio]) -> str:
    """Dots on a logarithmic axis, lines from the smallest to the largest round, and a line at 1. "" for none."""
    shown = [each for each in ratios if each.figure.low > 0]
    if not shown:
        return ""
    low = min(0.5, *(each.figure.low for each in shown))
    high = max(2.0, *(each.figure.high for each in shown))
    ticks = [step for step in _STEPS if low <= step * 2.5 and step <= high * 2.5] or [0.5, 1, 2]
    first, last = log10(min(low, ticks[0])), log10(max(high, ticks[-1]))
    inner, tall = _WIDTH - _LABEL - _RIGHT, len(shown) * _ROW

    def across(value: float) -> float:
        return _LABEL + inner * (log10(value) - first) / (last - first)

    parts = _frame(tall + _TOP + 30)
    for tick in ticks:
        stroke = "#333" if tick == 1 else "#e6e8eb"
        parts.append(f'<path d="M{across(tick):.1f} {_TOP}v{tall}" stroke="{stroke}"/>')
        parts.append(f'<text x="{across(tick):.1f}" y="{_TOP + tall + 18}" text-anchor="middle">{tick:g}</text>')
    for index, each in enumerate(shown):
        y = _TOP + index * _ROW + _ROW / 2
        known = each.figure
        parts.append(_label(each.label, y))
        width = across(known.high) - across(known.low)
        parts.append(
            f'<path d="M{across(known.low):.1f} {y}h{width:.1f}" '
            f'stroke="#1f6fb4" stroke-opacity=".35" stroke-width="6"/>'
        )
        parts.append(f'<circle cx="{across(known.value):.1f}" cy="{y}" r="4.5" fill="#1f6fb4"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 12}" y="{y + 4}">{short(known.value)}</text>')
    return "\n".join([*parts, "</svg>"])


def stacked_chart(rows: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """A bar per row, a colour per part, one scale; "" where nothing is above zero."""
    most = max((sum(parts.values()) for parts in rows.values()), default=0.0)
    if most <= 0:
        return ""
    names = list(dict.fromkeys(part for parts in rows.values() for part in parts))
    colour = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    step = nice(most / 4)
    top = ceil(most / step) * step
    inner, begin = _WIDTH - _LABEL - _RIGHT, _TOP + 26
    tall = len(rows) * _ROW
    parts = _frame(begin + tall + 32)
    for index, name in enumerate(names):
        x = 8 + index * 95
        parts.append(f'<rect x="{x}" y="8" width="12" height="12" fill="{colour[name]}"/>')
        parts.append(f'<text x="{x + 17}" y="18">{escape(name)}</text>')
    for tick in range(round(top / step) + 1):
        across = _LABEL + inner * tick * step / top
        parts.append(f'<path d="M{across:.1f} {begin}v{tall}" stroke="#e6e8eb"/>')
        parts.append(f'<text x="{across:.1f}" y="{begin + tall + 18}" text-anchor="middle">{tick * step:,g}</text>')
    for index, (name, row) in enumerate(rows.items()):
        y, right = begin + index * _ROW, float(_LABEL)
        parts.append(_label(name, y + _ROW / 2))
        for part, value in row.items():
            width = inner * value / top
            tip = f"<title>{escape(part)}: {short(value)} {escape(unit)}</title>"
            parts.append(
                f'<rect x="{right:.1f}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 8}"'
                f' fill="{colour[part]}">{tip}</rect>'
            )
            right += width
        parts.append(
            f'<text x="{right + 6:.1f}" y="{y + _ROW / 2 + 4}">{short(sum(row.values()))} {escape(unit)}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def _frame(height: float) -> list[str]:
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" font-size="12" role="img">']


def _label(text: str, y: float) -> str:
    return f'<text x="{_LABEL - 12}" y="{y + 4}" text-anchor="end">{escape(text)}</text>'


def nice(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten: a distance between ticks."""
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * (1 + 1e-9))
