"""Which archives of one group are used together. Pure.

A group wakes with the first request after a while of silence. An archive that took part in most of its group's waking
times is expected when the group wakes again. (Production traces show such "bursty groups": Prism, arXiv 2505.04021.)
"""

from collections.abc import Iterator
from typing import Final

QUIET_S: Final = 600.0
"""After so long without a request the group is asleep."""
LEAST: Final = 5
"""Wakings that an archive must have been known for."""
OFTEN: Final = 0.8
"""Share of the wakings in which it must have taken part. Of a hundred archives that come at random, some come often."""


class Group:
    """The archives of one group, and when they were used together."""

    def __init__(self) -> None:
        self._wakings = 0
        self._last_at = float("-inf")
        self._since: dict[str, int] = {}
        self._joined: dict[str, int] = {}
        self._last_joined: dict[str, int] = {}

    def asked(self, name: str, at: float) -> Iterator[str]:
        """An archive of the group is asked for; yields those that are expected with it, where the group wakes."""
        has_woken = at - self._last_at > QUIET_S
        self._last_at = at
        expected = [other for other in self._since if other != name and self._comes_often(other)] if has_woken else []
        self._wakings += has_woken
        self._since.setdefault(name, self._wakings - 1)
        if self._last_joined.get(name) != self._wakings:
            self._last_joined[name] = self._wakings
            self._joined[name] = self._joined.get(name, 0) + 1
        yield from expected

    def forget(self, name: str) -> None:
        """The archive was not asked for in a long time."""
        for each in (self._since, self._joined, self._last_joined):
            each.pop(name, None)

    def _comes_often(self, name: str) -> bool:
        seen = self._wakings - self._since[name]
        return seen >= LEAST and self._joined[name] >= OFTEN * seen
