"""How regularly an archive is asked for: a histogram of the times between the beginnings of its sessions. Pure.

After the hybrid histogram policy of "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020): only an archive whose
intervals crowd in a narrow window is called steady; of others nothing is predicted. Bins grow by 4 %, so that five
minutes and a day are told apart equally well, and old intervals fade, so that a new rhythm is learnt.
"""

import math
from typing import Final

SHORTEST_S: Final = 300.0
"""Whoever comes back sooner goes on with a session."""
LONGEST_S: Final = 36 * 3600.0
GROWTH: Final = 1.04
WINDOW: Final = 7
"""Bins that count as one rhythm: intervals that differ by a third at most."""
LEAST: Final = 5
"""Intervals that have to be seen first. Of random (exponential) ones, few have four of five in such a window."""
STEADY_SHARE: Final = 0.8
_FADES_AT: Final = 32.0
_FORGOTTEN: Final = 0.3


class Intervals:
    """One archive's intervals, in seconds."""

    __slots__ = ("_bins", "_total")

    def __init__(self) -> None:
        self._bins: dict[int, float] = {}
        self._total = 0.0

    def add(self, interval_s: float) -> None:
        """Count one; those that are too short or too long to tell anything are ignored."""
        if not SHORTEST_S <= interval_s <= LONGEST_S:
            return
        where = int(math.log(interval_s / SHORTEST_S, GROWTH))
        self._bins[where] = self._bins.get(where, 0.0) + 1
        self._total += 1
        if self._total >= _FADES_AT:
            self._bins = {each: weight / 2 for each, weight in self._bins.items() if weight / 2 > _FORGOTTEN}
            self._total = sum(self._bins.values())

    def window(self) -> tuple[float, float] | None:
        """Between which intervals nearly all lie (seconds), with a bin of margin on either side.

        `None` where they are few, or scattered.
        """
        if self._total < LEAST:
            return None
        share, first = max((self._in_window(where) / self._total, where) for where in self._bins)
        if share < STEADY_SHARE:
            return None
        last = max(where for where in range(first, first + WINDOW) if where in self._bins)
        return SHORTEST_S * GROWTH ** (first - 1), SHORTEST_S * GROWTH ** (last + 2)

    def _in_window(self, first: int) -> float:
        return sum(self._bins.get(where, 0.0) for where in range(first, first + WINDOW))
