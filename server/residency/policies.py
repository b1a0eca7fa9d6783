"""Which archive is worth least. The one seam where an eviction policy comes in: write a class, add it to `POLICIES`.

A policy only judges. That leased and pinned archives stay, and that no more leave than needed, holds for each of them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from server.residency.records import ArchiveRecord


class Policy(Protocol):
    """Judges archives from what their records say: last use, number of uses, seconds of loading, bytes."""

    name: str
    age: float
    """Written into a record each time it is used. Lets a policy's frequency fade; 0 where it does not."""

    def value(self, record: ArchiveRecord) -> float:
        """How much it is worth to keep; the lowest leaves first."""
        ...

    def evicted(self, value: float) -> None:
        """Learn the value of a victim."""
        ...


class LeastRecentlyUsed:
    """The one that was used longest ago leaves first."""

    name = "lru"
    age = 0.0

    def value(self, record: ArchiveRecord) -> float:
        """When it was last used."""
        return record.last_used

    def evicted(self, value: float) -> None:
        """Nothing to learn."""


POLICIES: Final[Mapping[str, Callable[[], Policy]]] = MappingProxyType({"lru": LeastRecentlyUsed})
