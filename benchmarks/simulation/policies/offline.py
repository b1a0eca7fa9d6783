"""Belady's rule, which knows the future: what is needed again last leaves first.

What it bounds: where all archives have the same size and nothing is shared, `belady` is the optimum; no policy that
loads what is asked for has fewer misses. Where sizes differ or parts are shared, the optimum is out of reach (NP-hard)
and both are greedy: schedules that could be had, so the optimum is at most as bad as they are, and may be better; a
policy may even beat them. `bounds.py` has the other side: what no schedule can beat.
"""

from collections.abc import Collection
from typing import Final

import numpy as np

from benchmarks.simulation.policies.policy import Load, Setting

_FIRST_SLOTS: Final = 64


class FarthestNextUse:
    """Evicts the resident with the largest distance to its next use x bytes (/ load seconds, if `by_cost`)."""

    def __init__(self, setting: Setting, *, by_cost: bool) -> None:
        self._by_cost = by_cost
        self._next_use = setting.next_use
        self._slot_of = [-1] * setting.archives
        self._archives: list[int] = []
        self._due = np.zeros(_FIRST_SLOTS)
        self._weight = np.zeros(_FIRST_SLOTS)

    def used(self, archive: int, at: int) -> None:
        """Due again at its next use."""
        self._due[self._slot_of[archive]] = self._next_use[at]

    def loaded(self, archive: int, at: int, load: Load) -> None:
        """Takes the next slot."""
        slot = len(self._archives)
        if slot == len(self._due):
            self._due = np.concatenate([self._due, np.zeros(slot)])
            self._weight = np.concatenate([self._weight, np.zeros(slot)])
        self._archives.append(archive)
        self._slot_of[archive] = slot
        self._due[slot] = self._next_use[at]
        weight = max(load.bytes, 1)
        self._weight[slot] = weight / max(load.load_s, 1e-9) if self._by_cost else weight

    def victim(self, at: int, spared: Collection[int] = ()) -> int:
        """The last slot moves into the place of the one that leaves."""
        count = len(self._archives)
        worth_going = (self._due[:count] - at) * self._weight[:count]
        if spared:
            worth_going[[self._slot_of[archive] for archive in spared if self._slot_of[archive] >= 0]] -= np.inf
        slot = int(np.argmax(worth_going))
        archive, last = self._archives[slot], self._archives.pop()
        self._slot_of[archive] = -1
        if last != archive:
            self._archives[slot] = last
            self._slot_of[last] = slot
            self._due[slot], self._weight[slot] = self._due[count - 1], self._weight[count - 1]
        return archive


def belady(setting: Setting) -> FarthestNextUse:
    """Aims at few misses: the optimum where sizes are equal, greedy elsewhere."""
    return FarthestNextUse(setting, by_cost=False)


def belady_cost(setting: Setting) -> FarthestNextUse:
    """Aims at few load-seconds, greedily."""
    return FarthestNextUse(setting, by_cost=True)
