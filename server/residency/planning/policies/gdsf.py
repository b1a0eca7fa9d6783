"""Greedy-Dual-Size-Frequency: what is dear to load, small and often used stays.

Source: L. Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy", HP Labs
HPL-98-69R1, 1998; for keeping functions warm: Fuerst and Sharma, "FaasCache", ASPLOS 2021.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from server.residency.planning.policies.policy import last_use, lowest_first
from server.residency.planning.records import ArchiveRecord

GIB: Final = 2**30


class GreedyDualSizeFrequency:
    """Value = age + uses x load seconds / GiB; the lowest leaves first.

    Seconds and bytes are measured, and those of the steps that would really be freed: a step that others hold too
    neither gives memory back nor has to be loaded again. Where all are shared, the whole archive is judged.

    The age is the highest value that any victim had. An archive gets it at each use, so that what was used often, long
    ago, falls behind what comes now.
    """

    name = "gdsf"

    def __init__(self) -> None:
        self.age = 0.0

    def arrived(self, record: ArchiveRecord) -> None:
        """Nothing to learn."""

    def order(self, records: Iterable[ArchiveRecord]) -> Iterator[ArchiveRecord]:
        """Least valuable first; of equals, the one that was used longest ago."""
        return lowest_first(records, _value_and_recency)

    def value(self, record: ArchiveRecord) -> float:
        """Age at the last use, and since its load: uses x seconds / GiB."""
        return _value_and_recency(record)[0]

    def explain(self, record: ArchiveRecord, at: float) -> str:
        """The factors."""
        seconds, size = record.freed
        return (
            f"{record.uses} uses x {seconds:.3f} s / {size / 2**20:.1f} MiB, "
            f"at age {record.age:.4g} of {self.age:.4g}; {last_use(record, at)}"
        )

    def evicted(self, record: ArchiveRecord) -> None:
        """The age rises to the victim's value."""
        self.age = max(self.age, self.value(record))

    def departed(self, record: ArchiveRecord) -> None:
        """Nothing to forget."""


def _value_and_recency(record: ArchiveRecord) -> tuple[float, float]:
    seconds, size = record.freed
    return record.age + record.uses * seconds * GIB / (size or 1), record.recency
