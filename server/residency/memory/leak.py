"""Does the engine hold more and more memory that no step explains? Pure: figures in, a judgement out.

An observation compares what is charged with what was measured; the difference is the *drift*. A constant drift is a
matter of measuring and no leak; one that rises, at an equal charge, is. It is looked for in windows of different reach:
the last observations, every fourth of them, every sixteenth, ..., so that a leak that begins after a month is found as
soon as a slow one that has gone on for a month.

In a window the rise is the smaller one of two robust measures: the slope by Theil and Sen (the median of the slopes
between all pairs) over the window's length, and the median of the last third less that of the first. Noise of amplitude
a shows a rise of 2a at most. The median of the middle third has to lie between the others: else it was a single jump.

Source: P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median, median_low
from typing import Final

WINDOW: Final = 32
"""Observations that a window holds."""
LEAST: Final = 16
"""Observations at an equal charge without which nothing is said."""
REACH: Final = 4
"""Each window looks so many times as far back as the one before it."""
WINDOWS: Final = 8
"""32 x 4^7 observations: months."""
EQUAL_SHARE: Final = 0.1
"""Charges that differ by less than this share count as equal."""
NOISES: Final = 3.0
"""A rise has to be so many standard deviations of the noise about its own line."""
_DEVIATION: Final = 1.4826
"""Standard deviations in a median absolute deviation, where noise is normal."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A device at one quiet moment. Bytes, without what the engine takes when it is empty. `at`: monotonic seconds."""

    at: float
    expected_bytes: int
    observed_bytes: int
    is_disturbed: bool = False

    @property
    def drift_bytes(self) -> int:
        """What is there and not charged; negative where more is charged than there."""
        return self.observed_bytes - self.expected_bytes


class LeakWatch:
    """The observations of one device since its engine was started."""

    def __init__(self, least_bytes: int) -> None:
        """`least_bytes`: a smaller rise is none of our business."""
        self.leaked_bytes = 0
        """The largest rise that was seen and no noise; it stays."""
        self._least_bytes = least_bytes
        self._windows: list[deque[Observation]] = [deque(maxlen=WINDOW) for _ in range(WINDOWS)]
        self._count = 0

    @property
    def is_leaking(self) -> bool:
        """Whether a leak was seen since the engine was started."""
        return self.leaked_bytes > 0

    @property
    def recent(self) -> Sequence[Observation]:
        """The last observations, oldest first."""
        return tuple(self._windows[0])

    def add(self, observation: Observation) -> bool:
        """Returns whether it is known by this, for the first time, that memory leaks."""
        stride, was_leaking = 1, self.is_leaking
        for window in self._windows:
            if self._count % stride:
                break
            window.append(observation)
            self.leaked_bytes = max(self.leaked_bytes, rise_in(window, self._least_bytes))
            stride *= REACH
        self._count += 1
        return self.is_leaking and not was_leaking


def rise_in(window: Sequence[Observation] | deque[Observation], least_bytes: int) -> int:
    """By how many bytes the drift rose at the charge of the last observation; 0 where that is too little, or noise."""
    charge = window[-1].expected_bytes
    drifts = [each.drift_bytes for each in window if abs(each.expected_bytes - charge) <= EQUAL_SHARE * charge]
    if len(drifts) < LEAST:
        return 0
    third = len(drifts) // 3
    first, middle, last = median(drifts[:third]), median_low(drifts[third:-third]), median(drifts[-third:])
    between_ends = min(last - first, 4 * (middle - first), 4 * (last - middle))
    if between_ends <= least_bytes:
        return 0
    points = list(enumerate(drifts))
    slope = median((later - earlier) / (j - i) for (i, earlier), (j, later) in combinations(points, 2))
    rise = min(slope * (len(drifts) - 1), between_ends)
    level = median(drift - slope * i for i, drift in points)
    noise = NOISES * _DEVIATION * median(abs(drift - slope * i - level) for i, drift in points)
    return int(rise) if rise > max(noise, least_bytes) else 0
