"""Why each archive left: who was chosen, for whom, what else was considered, and what came of it."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from server.domain.model import Device, StagedArchive


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
class Return:
    """The same content came back; `load_s` are the seconds that it took.

    `unused` were considered instead, and stayed without being used until then: with hindsight the better victims.
    """

    at: float
    load_s: float
    unused: tuple[str, ...]


@dataclass(slots=True)
class Decision:
    """One departure.

    `reason`: `room` (on a device), `room on disk`, `quota`, `over budget`, `out of memory`, or in words what else it
    was. `needed` is the room that was missing, in bytes per device, or on `disk`; empty where room was not the reason.

    `judgement` is what the policy thought of the archive, in words. `load_s`: the seconds of loading that were thrown
    away with it (of the steps that no other archive holds).
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
    load_s: float = 0.0
    came_back: Return | None = None
    """The regret: filled in when the archive is resident again."""


class Decisions:
    """The last `limit` departures, newest last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: deque[Decision] = deque()
        self._last: dict[str, Decision] = {}
        """By archive: its last departure, as long as it has not come back."""

    def add(self, decision: Decision) -> None:
        """Keep it; the oldest makes room."""
        self._kept.append(decision)
        self._last[decision.name] = decision
        while len(self._kept) > self._limit:
            oldest = self._kept.popleft()
            if self._last.get(oldest.name) is oldest:
                del self._last[oldest.name]

    def came_back(
        self, archive: StagedArchive, at: float, load_s: float, last_used: Callable[[str], float | None]
    ) -> None:
        """An archive is resident (again). `last_used` tells of each resident when it was used, `None` of others."""
        decision = self._last.pop(archive.name, None)
        if decision is None or decision.version != archive.version:
            return
        others = ((each.name, last_used(each.name)) for each in decision.considered if not each.is_victim)
        unused = tuple(name for name, used in others if used is not None and used <= decision.at)
        decision.came_back = Return(at, load_s, unused)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._kept)
