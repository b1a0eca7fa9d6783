"""The seam: what a policy hears and what it is asked."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Setting:
    """What a policy may know before the first request."""

    budget: int
    """Bytes."""
    archives: int
    next_use: Sequence[int]
    """For the request of each index, the index of the next request for the same archive. Only for offline policies."""


class Load(NamedTuple):
    """What a load moved and took: with sharing, only the parts that were not there yet."""

    bytes: int
    load_s: float


class Policy(Protocol):
    """Keeps an order among the resident archives. `at` is the index of the request that is being served."""

    def used(self, archive: int, at: int) -> None:
        """A resident archive was asked for."""
        ...

    def loaded(self, archive: int, at: int, load: Load) -> None:
        """An archive was asked for, was not resident, and is now."""
        ...

    def victim(self, at: int, spared: Collection[int] = ()) -> int:
        """Choose a resident archive and forget it: one of `spared` only if there is no other.

        Called only while one is resident.
        """
        ...


def first_of(order: Iterable[int], spared: Collection[int]) -> int:
    """The first that is not spared; where all are, the first. `order` is not empty."""
    every = iter(order)
    first = next(every)
    return next((archive for archive in (first, *every) if archive not in spared), first) if spared else first
