"""Who may leave for a claim, and in which order: by priority, then by rank, then by the policy.

An archive of higher priority than the claim's leaves only for the first claim that is blocked, and after everybody of
equal or lower priority, leased ones included. Who is patient disturbs nobody: for such a claim only archives leave that
are idle, were not loaded a moment ago, and have not been used for a while by anybody who could not wait.
"""

from collections.abc import Collection, Iterator, Sequence
from enum import Enum
from itertools import chain
from math import inf
from typing import Final

from server.domain.model import StagedArchive
from server.residency.planning.house import House
from server.residency.planning.records import ArchiveRecord
from server.residency.planning.states import ArchiveState

IDLE, GUARDED, OLD_CONTENT, OLD_IN_USE, DRAINED, IN_USE = range(6)
"""Ranks within a priority: who of a lower rank can leave leaves first."""
AT_REST: Final = (IDLE, GUARDED, OLD_CONTENT)
BUSY: Final = (OLD_IN_USE, DRAINED, IN_USE)


class Reach(Enum):
    """How far a claim may go for its room."""

    PATIENT = "patient"
    AT_REST = "at rest"
    FIRST = "first"
    """Leased archives too: they drain."""


def candidates(
    house: House, archive: StagedArchive | None, reach: Reach, drained_before: Collection[str], group: str | None = None
) -> Iterator[ArchiveRecord]:
    """Who may leave for `archive`, in the order in which they should. Lazy, rank by rank.

    `archive`: `None` where a device is overdrawn; `drained_before`: keys of those that were leaving already; `group`:
    only archives of that group.
    """
    own = house.terms.of(archive.name).priority if archive is not None else inf
    shelves = _shelved(house, archive.name if archive is not None else None, drained_before, group)
    if reach is Reach.PATIENT:
        return chain.from_iterable(
            house.in_order([each for each in ranks[IDLE] if each.urgently_used_at <= house.spared_from])
            for priority, ranks in sorted(shelves.items())
            if priority <= own
        )
    lower = [ranks for priority, ranks in sorted(shelves.items()) if priority <= own]
    order = [ranks[rank] for ranks in lower for rank in AT_REST]
    if reach is Reach.FIRST:
        higher = [ranks for priority, ranks in sorted(shelves.items()) if priority > own]
        order += [ranks[rank] for ranks in lower for rank in BUSY]
        order += [ranks[rank] for ranks in higher for rank in AT_REST]
        order += [ranks[rank] for ranks in higher for rank in BUSY]
    return chain.from_iterable(map(house.in_order, filter(None, order)))


def _shelved(
    house: House, name: str | None, drained_before: Collection[str], group: str | None
) -> dict[int, Sequence[list[ArchiveRecord]]]:
    """Resident archives that may leave, by priority and rank."""
    shelves: dict[int, Sequence[list[ArchiveRecord]]] = {}
    pins, guarded_from = house.pins, house.guarded_from
    for record in house.inventory.in_state(ArchiveState.RESIDENT):  # every miss looks at all of them: be quick
        held, terms = record.archive.name, record.terms
        if group is not None and terms.group != group:
            continue
        if held == name:
            rank = OLD_IN_USE if record.leases > record.quiet else OLD_CONTENT
        elif held in pins or terms.is_pinned:
            continue
        elif record.leases > record.quiet:
            rank = DRAINED if record.archive.key in drained_before else IN_USE
        else:
            rank = GUARDED if record.resident_since > guarded_from else IDLE
        ranks = shelves.get(terms.priority)
        if ranks is None:
            ranks = shelves[terms.priority] = tuple([] for _ in range(IN_USE + 1))
        ranks[rank].append(record)
    return shelves
