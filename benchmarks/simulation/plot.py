"""Line charts as SVG, in panels, without a plotting library: nothing here needs more than lines and words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

COLOURS: Final = ("#8c8c8c", "#1f6fb4", "#2a9d5c", "#d1495b", "#111111", "#7a5195")
_DASHED: Final = "6 4"
_WIDTH: Final = 420
_HEIGHT: Final = 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 40, 46


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: lines by name, all over the same kind of x."""

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Places values between 0 and 1."""

    ticks: Sequence[float]
    is_logarithmic: bool

    def place(self, value: float) -> float:
        low, high = self._bend(self.ticks[0]), self._bend(self.ticks[-1])
        return (self._bend(value) - low) / ((high - low) or 1.0)

    def _bend(self, value: float) -> float:
        return float(np.log(value)) if self.is_logarithmic else value


def svg(
    title: str,
    labels: tuple[str, str],
    panels: Sequence[Panel],
    *,
    columns: int = 2,
    dashed: str = "",
    log_y: bool = False,
    log_x: bool = True,
    x_ticks: Sequence[float] = (),
) -> str:
    """The panels in rows of `columns` under one legend; lines whose names begin with `dashed` are dashed.

    `labels` are those of x and y. With `log_y` values of zero and less are left out. Without `x_ticks` each x that a
    point has gets one.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    rows = -(-len(panels) // columns)
    width, height = columns * _WIDTH, rows * _HEIGHT + 70
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="16" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    styles = {}
    for index, name in enumerate(names):
        dash = f' stroke-dasharray="{_DASHED}"' if dashed and name.startswith(dashed) else ""
        styles[name] = f'stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="2" fill="none"{dash}'
        x = 16 + index * 115
        parts.append(f'<path d="M{x} 46h24" {styles[name]}/><text x="{x + 30}" y="50">{escape(name)}</text>')
    for index, panel in enumerate(panels):
        left, top = index % columns * _WIDTH, index // columns * _HEIGHT + 60
        drawn = _panel(panel, labels, styles, log_y, _Scale(x_ticks, log_x))
        parts.append(f'<g transform="translate({left} {top})">{drawn}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, labels: tuple[str, str], styles: Mapping[str, str], log_y: bool, xs: _Scale) -> str:
    lines = {name: [(x, y) for x, y in line if y > 0 or not log_y] for name, line in panel.lines.items()}
    points = np.array([point for line in lines.values() for point in line])
    if not len(points):
        return ""
    xs = xs if xs.ticks else _Scale(sorted(set(points[:, 0].tolist())), xs.is_logarithmic)
    ys = _y_scale(points[:, 1], log_y)
    inner, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    middle, below = _LEFT + inner / 2, _TOP + tall
    parts = [f'<text x="{_LEFT}" y="{_TOP - 12}" font-weight="bold">{escape(panel.title)}</text>']
    for tick in ys.ticks:
        y = _TOP + tall * (1 - ys.place(tick))
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{inner}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,g}</text>')
    for x in xs.ticks:
        across = _LEFT + inner * xs.place(x)
        number = f"{x:,.0f}" if x >= 1000 else f"{x:.3g}"
        parts.append(f'<text x="{across:.1f}" y="{below + 16}" text-anchor="middle">{number}</text>')
    parts.append(f'<text x="{middle}" y="{below + 34}" text-anchor="middle">{escape(labels[0])}</text>')
    turn = f'transform="translate(14 {_TOP + tall / 2}) rotate(-90)"'
    parts.append(f'<text {turn} text-anchor="middle">{escape(labels[1])}</text>')
    for name, line in lines.items():
        places = ((_LEFT + inner * xs.place(x), _TOP + tall * (1 - ys.place(y))) for x, y in line)
        parts.append(f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in places)}" {styles[name]}/>')
    return "".join(parts)


def _y_scale(values: NDArray[np.float64], log_y: bool) -> _Scale:
    if log_y:
        low, high = np.floor(np.log10(values.min())), np.ceil(np.log10(values.max()))
        powers = range(int(low), int(max(high, low + 1)) + 1)
        return _Scale([10.0**power for power in powers], is_logarithmic=True)
    top = _round_up(float(values.max()))
    return _Scale(np.linspace(0, top, 5).tolist(), is_logarithmic=False)


def _round_up(value: float) -> float:
    """To the next 1, 2, 4, 5 or 8 times a power of ten, so that quarters of it are short numbers."""
    if value <= 0:
        return 1.0
    power = float(10 ** np.floor(np.log10(value)))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if value <= step * power * (1 + 1e-9))
