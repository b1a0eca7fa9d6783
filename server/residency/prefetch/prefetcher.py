"""Acts upon guesses: brings archives one tier up while the server is idle, and keeps the score.

Who was asked for is read off the residents' counts now and then, so that requests do not pay for it. One guess moves
an archive one tier at most: store to disk, disk to host memory (or, where there is none, to the device), host memory to
the device. Onto a device it goes only where room is free: nobody ever leaves for a guess (`foreseen.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from server.domain.clock import Clock
from server.domain.errors import RoundhouseError
from server.residency.prefetch.predictor import Guess, Predictor
from server.residency.prefetch.scores import Scorecard

MOST_MOVES: Final = 2
"""Archives moved per look, so that a request never finds a long queue of guesses before it."""


class Use(NamedTuple):
    """How often an archive was used since its admission (which is numbered), and when last (monotonic seconds)."""

    admission: int
    uses: int
    at: float
    came_from: str = "disk"
    """How far it had to come for that admission: a word for warmth."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An archive came one tier up."""

    tier: str
    """Where it is now: `disk`, `host` or `device`."""
    moved_bytes: int
    admission: int = 0
    """The number of its admission, where it is on a device."""

    def helped(self, use: Use) -> bool:
        """Whether it was still there when it was used."""
        if self.tier == "device":
            return use.admission == self.admission
        return use.came_from != "store" if self.tier == "disk" else use.came_from not in {"store", "disk"}


class Tiers(Protocol):
    """Residency, as far as this file needs it."""

    def uses(self) -> Mapping[str, Use]:
        """Who may be leased now, and how often and when each was used."""
        ...

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way in or out, and nobody waits."""
        ...

    async def raise_tier(self, name: str) -> Raised | None:
        """Bring the archive one tier up; `None` where that is not possible now. Raises RoundhouseError."""
        ...


class Prefetcher:
    """`look` now and then."""

    def __init__(self, tiers: Tiers, clock: Clock) -> None:
        self._tiers = tiers
        self._clock = clock
        self._predictor = Predictor()
        self._scores = Scorecard()
        self._seen: dict[str, Use] = {}
        self._tried: dict[str, float] = {}
        self._open: dict[str, Raised] = {}
        self._counts: dict[str, int] = {}

    async def look(self, *, is_idle: bool) -> None:
        """Learn who was asked for since the last look; where the server is idle, bring up what is expected."""
        at = self._clock.now()
        self._learn(at)
        if not is_idle:
            return
        for guess in self._worth_it(at):
            if not self._tiers.is_quiet:
                break
            self._tried[guess.name] = guess.until
            try:
                raised = await self._tiers.raise_tier(guess.name)
            except RoundhouseError:  # gone, broken, or the store is away: whoever asks for it will be told
                continue
            if raised is not None:
                self._scores.prefetched(guess, raised.moved_bytes)
                self._open[guess.name] = raised
                self._counts[raised.tier] = self._counts.get(raised.tier, 0) + 1

    def figures(self) -> dict[str, Any]:
        """What was moved, and how often that was right, JSON-ready."""
        reasons = self._scores.figures(self._clock.now())
        return {"known": len(self._predictor), "raised_to": dict(self._counts), "reasons": reasons}

    def _learn(self, at: float) -> None:
        uses = dict(self._tiers.uses())
        news = [(use.at, name, use) for name, use in uses.items() if use.uses and self._is_new(name, use)]
        for asked_at, name, use in sorted(news):
            self._predictor.asked(name, asked_at)
            raised = self._open.pop(name, None)
            if raised is not None:
                self._scores.asked(name, asked_at, was_there=raised.helped(use))
        self._seen = uses
        self._scores.passed(at)
        self._open = {name: raised for name, raised in self._open.items() if self._scores.is_open(name)}
        self._tried = {name: until for name, until in self._tried.items() if until > at}

    def _is_new(self, name: str, use: Use) -> bool:
        before = self._seen.get(name)
        return before is None or before[:2] != use[:2]

    def _worth_it(self, at: float) -> list[Guess]:
        wanted = [
            guess
            for guess in self._predictor.due(at)
            if guess.name not in self._seen  # it is on a device
            and guess.name not in self._tried
            and not self._scores.is_open(guess.name)
            and self._scores.is_on(guess.reason, at)
        ]
        return wanted[:MOST_MOVES]
