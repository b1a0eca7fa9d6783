"""Whose turn it is among many, at the cost of one step in a heap however many wait. Pure bookkeeping.

Ranks may change while somebody waits. Who comes to rank before others has to say so (`promoted`); who falls behind is
found when the turn comes.
"""

import heapq
import itertools
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

Rank: TypeAlias = tuple[bool, bool, int]
"""Who is served first has the smallest."""


class Turns(Generic[T]):
    """Those who wait, the one with the smallest rank first; of equal ranks the one that came first."""

    def __init__(self, rank_of: Callable[[T], Rank]) -> None:
        self._rank_of = rank_of
        self._heap: list[tuple[Rank, int, T]] = []
        self._entries: dict[T, int] = {}
        """The one entry of the heap that counts for each; others are left behind until they come up."""
        self._count = itertools.count()

    def enter(self, one: T) -> None:
        """Wait from now on."""
        entry = next(self._count)
        self._entries[one] = entry
        heapq.heappush(self._heap, (self._rank_of(one), entry, one))

    def leave(self, one: T) -> None:
        """Wait no more."""
        del self._entries[one]

    def promoted(self, one: T) -> None:
        """It may rank before others that it ranked behind; nothing happens where it does not wait."""
        if one in self._entries:
            self.enter(one)

    def first(self) -> T | None:
        """Whose turn it is."""
        while self._heap:
            rank, entry, one = self._heap[0]
            if self._entries.get(one) != entry:
                heapq.heappop(self._heap)
            elif rank != (now := self._rank_of(one)):
                heapq.heapreplace(self._heap, (now, entry, one))
            else:
                return one
        return None
