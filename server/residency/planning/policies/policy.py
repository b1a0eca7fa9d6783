"""The one seam where an eviction policy comes in: write a class in a file beside this one, and add it to `table.py`.

A policy only judges. That leased, pinned and freshly loaded archives stay, and that no more leave than needed, holds
for each of them.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop
from typing import Any, Protocol

from server.residency.planning.records import ArchiveRecord


class Policy(Protocol):
    """Judges archives from what their records say: uses, last use, seconds of loading, bytes."""

    @property
    def name(self) -> str:
        """What the setting calls it."""
        ...

    @property
    def age(self) -> float:
        """Written into a record each time it is used. Lets a policy's frequency fade; 0 where it does not."""
        ...

    def arrived(self, record: ArchiveRecord) -> None:
        """An archive became resident. Those who waited for it are counted in its uses already."""
        ...

    def order(self, records: Iterable[ArchiveRecord]) -> Iterator[ArchiveRecord]:
        """These archives, all of them resident, in the order in which they should leave. Changes nothing.

        Lazy: of a thousand, a handful is asked for as a rule.
        """
        ...

    def value(self, record: ArchiveRecord) -> float:
        """How much a resident archive is worth keeping, for people; each policy has its own unit."""
        ...

    def explain(self, record: ArchiveRecord, at: float) -> str:
        """The same in words."""
        ...

    def evicted(self, record: ArchiveRecord) -> None:
        """This archive is going to leave because room is needed: learn from it. `departed` follows."""
        ...

    def departed(self, record: ArchiveRecord) -> None:
        """An archive that had arrived is gone, for whatever reason."""
        ...


def lowest_first(records: Iterable[ArchiveRecord], key: Callable[[ArchiveRecord], Any]) -> Iterator[ArchiveRecord]:
    """Sort lazily (a heap): the first few cost little more than looking at each once. Ties: oldest admission first."""
    heap = [(key(record), record.admission, record) for record in records]
    heapify(heap)
    while heap:
        yield heappop(heap)[2]


def last_use(record: ArchiveRecord, at: float) -> str:
    """When the archive was used, in words."""
    ago = f"{at - record.last_used:.1f} s ago"
    return f"last used {ago}" if record.uses else f"loaded {ago} and never used, which counts as used an hour before"
