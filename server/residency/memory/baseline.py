"""What an engine takes without any step, as it shows once the server is warm. Pure.

The engine says what it took before its first step. More comes once, with the first archives and requests: clients,
threads, connections, pages that malloc keeps. No step explains that, and it is no drift either: it stays the same. So
during the first minutes the baseline follows the drift (its median, so that one odd look does not move it), and then
stays where it is, until nothing is loaded: then all that is there is overhead.

A leak is looked for without this (`leak.py`): what grows goes on growing from any baseline.
"""

from collections import deque
from statistics import median_low
from typing import Final

from server.residency.memory.leak import Observation

WARM_UP_S: Final = 300.0
LOOKED_AT: Final = 9
"""Observations of which the median counts."""
MOST_SHARE: Final = 0.5
"""Of what the engine said itself. More than that is worth to be seen as drift."""


class Baseline:
    """By how many bytes a device's overhead is larger than its engine says. Never less than 0."""

    def __init__(self) -> None:
        self.shift_bytes = 0
        self._began: float | None = None
        self._drifts: deque[int] = deque(maxlen=LOOKED_AT)

    def add(self, seen: Observation, overhead_bytes: int, *, is_leaking: bool) -> None:
        """Learn from an observation, whose `observed_bytes` are above `overhead_bytes`."""
        if self._began is None:
            self._began = seen.at
        if seen.is_disturbed or is_leaking:
            return
        if not seen.expected_bytes:
            self._drifts.clear()
        elif seen.at > self._began + WARM_UP_S:
            return
        self._drifts.append(seen.drift_bytes)
        self.shift_bytes = max(0, min(median_low(self._drifts), int(MOST_SHARE * overhead_bytes)))
