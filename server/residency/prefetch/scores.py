"""Whether guesses come true, reason by reason; a reason that is mostly wrong is switched off for a while. Pure."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from server.residency.prefetch.predictor import Guess

JUDGED: Final = 20
"""So many of the last guesses are judged together."""
LEAST_JUDGED: Final = 8
"""Before so many are known nothing is switched off."""
LEAST_PRECISION: Final = 0.5
"""Below that share of right guesses more is moved in vain than is of use."""
PAUSE_S: Final = 1800.0
"""For how long a reason is switched off at first; twice as long each time after, until it proves right."""
LONGEST_PAUSE_S: Final = 24 * 3600.0


@dataclass(slots=True)
class Score:
    """How one reason did since the start, and lately."""

    prefetched: int = 0
    used: int = 0
    wasted: int = 0
    moved_bytes: int = 0
    wasted_bytes: int = 0
    switched_off: int = 0
    off_until: float = float("-inf")
    pause_s: float = PAUSE_S
    lately: deque[bool] = field(default_factory=lambda: deque(maxlen=JUDGED))

    @property
    def precision(self) -> float | None:
        """Share of guesses that came true, of those that are decided."""
        decided = self.used + self.wasted
        return self.used / decided if decided else None

    def decided(self, at: float, *, is_used: bool) -> None:
        """One more guess is known to be right or wrong."""
        self.lately.append(is_used)
        is_enough = len(self.lately) >= LEAST_JUDGED
        if is_enough and sum(self.lately) < LEAST_PRECISION * len(self.lately):
            self.off_until = at + self.pause_s
            self.pause_s = min(LONGEST_PAUSE_S, 2 * self.pause_s)
            self.switched_off += 1
            self.lately.clear()
        elif len(self.lately) == JUDGED:
            self.pause_s = PAUSE_S


class Scorecard:
    """What was prefetched and is not decided yet, and every reason's score."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Guess, int]] = {}
        self._scores: dict[str, Score] = {}

    def is_on(self, reason: str, at: float) -> bool:
        """Whether guesses for this reason are acted upon."""
        return self.of(reason).off_until <= at

    def is_open(self, name: str) -> bool:
        """Whether the archive was prefetched, and nobody knows yet whether that was right."""
        return name in self._open

    def prefetched(self, guess: Guess, moved_bytes: int) -> None:
        """The archive was brought one tier up."""
        score = self.of(guess.reason)
        score.prefetched += 1
        score.moved_bytes += moved_bytes
        self._open[guess.name] = (guess, moved_bytes)

    def asked(self, name: str, at: float, *, was_there: bool = True) -> None:
        """The archive was asked for: right, if that was in time, and while it was still in the tier it came to."""
        if name in self._open and at <= self._open[name][0].until:
            self._decide(name, at, is_used=was_there)

    def passed(self, at: float) -> None:
        """Time passed: what was expected by now and did not come was wrong."""
        for name in [name for name, (guess, _) in self._open.items() if guess.until < at]:
            self._decide(name, at, is_used=False)

    def of(self, reason: str) -> Score:
        """The score of one reason."""
        return self._scores.setdefault(reason, Score())

    def _decide(self, name: str, at: float, *, is_used: bool) -> None:
        guess, moved_bytes = self._open.pop(name)
        score = self.of(guess.reason)
        score.used += is_used
        score.wasted += not is_used
        score.wasted_bytes += 0 if is_used else moved_bytes
        score.decided(at, is_used=is_used)

    def figures(self, at: float) -> dict[str, dict[str, object]]:
        """Every reason's figures, JSON-ready."""
        return {
            reason: {
                "is_on": self.is_on(reason, at),
                "on_again_in_s": round(max(0.0, score.off_until - at), 1),
                "prefetched": score.prefetched,
                "used": score.used,
                "wasted": score.wasted,
                "precision": None if score.precision is None else round(score.precision, 4),
                "moved_bytes": score.moved_bytes,
                "wasted_bytes": score.wasted_bytes,
                "switched_off": score.switched_off,
            }
            for reason, score in self._scores.items()
        }
