"""Why each archive left: who was chosen, for whom, and what else was considered."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.model import Device


@dataclass(frozen=True, slots=True)
class Considered:
    """One archive as the policy saw it. `last_used` is monotonic seconds; `value` is what the policy gave it.

    `is_guarded`: it was loaded so recently that others had to leave first.
    """

    name: str
    version: str
    value: float
    last_used: float
    size_bytes: int
    leases: int
    is_pinned: bool
    is_guarded: bool = False
    is_victim: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """One departure. `needed` is the room (bytes per device) that was missing; empty where room was not the reason.

    `judgement` is what the policy thought of the archive, in words.
    """

    at: float
    name: str
    version: str
    reason: str
    for_whom: str
    needed: tuple[tuple[Device, int], ...]
    size_bytes: int
    last_used: float
    uses: int
    judgement: str
    considered: tuple[Considered, ...]


class Decisions:
    """The last `limit` departures, newest last."""

    def __init__(self, limit: int) -> None:
        self._kept: deque[Decision] = deque(maxlen=limit)

    def add(self, decision: Decision) -> None:
        """Keep it; the oldest makes room."""
        self._kept.append(decision)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._kept)
