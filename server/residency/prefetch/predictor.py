"""Which archives will be asked for soon. Pure: requests with their times in, guesses out.

Three reasons, each judged by itself (`scores.py`):
- `regular`: it is asked for in steady intervals, and the next time is near (`intervals.py`);
- `group`: it is nearly always asked for when its group is, and its group has just woken (`companions.py`);
- `session`: it was asked for a moment ago, and mostly that happens again within minutes. That matters where it had to
  leave meanwhile.
"""

import heapq
from dataclasses import dataclass
from typing import Final

from server.residency.planning.terms import group_of
from server.residency.prefetch.companions import QUIET_S, Group
from server.residency.prefetch.intervals import SHORTEST_S, Intervals

REGULAR: Final = "regular"
GROUP: Final = "group"
SESSION: Final = "session"
REASONS: Final = (REGULAR, GROUP, SESSION)

SESSION_S: Final = 120.0
"""How soon the next request of a session comes."""
LIKELY: Final = 0.6
"""Share of an archive's requests that had to be followed by another, for `session`."""
MOST_KNOWN: Final = 20_000
_PRIOR: Final = 4.0
"""As many requests without a follower are assumed of an archive that nobody knows."""


@dataclass(frozen=True, slots=True)
class Guess:
    """The archive will be asked for until `until` (monotonic seconds)."""

    until: float
    name: str
    reason: str


class _Known:
    """What is remembered of one archive."""

    __slots__ = ("asks", "followed", "intervals", "last", "session")

    def __init__(self, at: float) -> None:
        self.intervals = Intervals()
        self.last = at
        self.session = at
        """When its last session began."""
        self.asks = 0
        self.followed = 0


class Predictor:
    """Learns from every request, in order of time."""

    def __init__(self, most_known: int = MOST_KNOWN) -> None:
        self._most_known = most_known
        self._known: dict[str, _Known] = {}
        """Those that were asked for longest ago stand first, and are forgotten first."""
        self._groups: dict[str, Group] = {}
        self._due: list[tuple[float, float, float, str]] = []
        """A heap: from when, and until when, a regular archive is expected, and when its last session began."""
        self._guesses: dict[str, Guess] = {}

    def asked(self, name: str, at: float) -> None:
        """The archive was asked for."""
        known = self._known.pop(name, None)
        is_new = known is None
        known = known or _Known(at)
        self._known[name] = known
        self._guesses.pop(name, None)
        if not is_new:
            self._learn(name, known, at)
        known.last = at
        known.asks += 1
        if known.followed >= LIKELY * (known.asks + _PRIOR):
            self._guesses[name] = Guess(at + SESSION_S, name, SESSION)
        self._wake(name, at)
        self._forget()

    def due(self, at: float) -> list[Guess]:
        """What is expected now, the most urgent first."""
        self._guesses = {name: guess for name, guess in self._guesses.items() if guess.until > at}
        while self._due and self._due[0][0] <= at:
            _, until, session, name = heapq.heappop(self._due)
            known = self._known.get(name)
            if known is not None and known.session == session and until > at:
                self._guess(Guess(until, name, REGULAR))
        return sorted(self._guesses.values(), key=lambda guess: guess.until)

    def __len__(self) -> int:
        return len(self._known)

    def _learn(self, name: str, known: _Known, at: float) -> None:
        """From the time since it was last asked for."""
        known.followed += at - known.last <= SESSION_S
        if at - known.last >= SHORTEST_S:
            known.intervals.add(at - known.session)
            known.session = at
            window = known.intervals.window()
            if window is not None:
                heapq.heappush(self._due, (at + window[0], at + window[1], at, name))

    def _wake(self, name: str, at: float) -> None:
        group = group_of(name)
        if group:
            for other in self._groups.setdefault(group, Group()).asked(name, at):
                self._guess(Guess(at + QUIET_S, other, GROUP))

    def _guess(self, guess: Guess) -> None:
        """Of two reasons the one that holds longer counts: only one is told whether it was right."""
        known = self._guesses.get(guess.name)
        if known is None or known.until < guess.until:
            self._guesses[guess.name] = guess

    def _forget(self) -> None:
        while len(self._known) > self._most_known:
            name = next(iter(self._known))
            del self._known[name]
            self._guesses.pop(name, None)
            group = self._groups.get(group_of(name))
            if group is not None:
                group.forget(name)
