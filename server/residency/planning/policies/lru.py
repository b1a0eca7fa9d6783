"""Least recently used: simple, robust, and the default."""

from collections.abc import Iterable, Iterator
from operator import attrgetter

from server.residency.planning.policies.policy import last_use, lowest_first
from server.residency.planning.records import ArchiveRecord


class LeastRecentlyUsed:
    """The one that was used longest ago leaves first. Values are monotonic seconds."""

    name = "lru"
    age = 0.0

    def arrived(self, record: ArchiveRecord) -> None:
        """Nothing to learn."""

    def order(self, records: Iterable[ArchiveRecord]) -> Iterator[ArchiveRecord]:
        """Longest unused first."""
        return lowest_first(records, attrgetter("recency"))

    def value(self, record: ArchiveRecord) -> float:
        """When it was last used."""
        return record.recency

    def explain(self, record: ArchiveRecord, at: float) -> str:
        """How long ago that was."""
        return last_use(record, at)

    def evicted(self, record: ArchiveRecord) -> None:
        """Nothing to learn."""

    def departed(self, record: ArchiveRecord) -> None:
        """Nothing to forget."""
