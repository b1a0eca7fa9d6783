"""Running sums per archive, cheap enough for the hot path: plain additions, turned into metrics when scraped.

One event loop writes and reads them, so there are no locks. The number of archives with sums of their own is bounded:
a host serves thousands of archives, and a metric label for each of them for ever is a leak. The rest share one entry.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

OTHER: Final = "_other"


@dataclass(slots=True)
class Sum:
    """How often, and how much altogether."""

    count: int = 0
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count one more observation."""
        self.count += 1
        self.total += value


class ArchiveSums:
    """What happened to one archive (or to all the others). Seconds."""

    __slots__ = (
        "cache_hit",
        "download_s",
        "errors",
        "evictions",
        "infer_s",
        "load_errors",
        "load_s",
        "overhead_s",
        "unload_s",
        "wait_s",
    )

    def __init__(self) -> None:
        self.cache_hit = Sum()
        """One observation per answered request, 1 where nothing had to be loaded for it."""
        self.infer_s = Sum()
        self.overhead_s = Sum()
        self.wait_s = Sum()
        self.load_s = Sum()
        self.download_s = Sum()
        self.unload_s = Sum()
        self.errors = 0
        self.load_errors = 0
        self.evictions = 0


class SumsByArchive:
    """The sums by archive name, at most `limit` names."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_name: dict[str, ArchiveSums] = {}
        self._other = ArchiveSums()

    def of(self, name: str) -> ArchiveSums:
        """Return the sums to add to, opening an entry for a name that is known to exist."""
        sums = self._by_name.get(name)
        if sums is not None:
            return sums
        if len(self._by_name) >= self._limit:
            return self._other
        sums = self._by_name[name] = ArchiveSums()
        return sums

    def of_any(self, name: str) -> ArchiveSums:
        """Return the sums to add to for a name that a caller made up: it opens no entry."""
        return self._by_name.get(name, self._other)

    def __iter__(self) -> Iterator[tuple[str, ArchiveSums]]:
        yield from self._by_name.items()
        yield OTHER, self._other
