"""In which order settings are tried, and which one is taken. Pure: what measures is handed in.

Coordinate descent: one knob after the other, each from the best found so far, until no knob moves any more. The values
of a knob race: all are measured once, the worse half leaves, the rest is measured again (successive halving). Every
sitting has the baseline beside it. In the end the best is measured anew against the baseline, and taken only if those
fresh figures keep the goal and are better: the best of many noisy figures is too good to be true.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from benchmarks.tuning.judging import Curve, Goal, Round, median_curve
from benchmarks.tuning.space import BASELINE, Choice, Knob

Measure: TypeAlias = Callable[[Sequence[Choice]], Sequence[Curve | None]]
"""Measures settings once, in one sitting; None for one that cannot be served. The first is the baseline."""

MARGIN: Final = 1.02
"""What a setting must be better by before a knob is left turned: less is noise, and fewer settings are easier kept."""


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How often is measured."""

    race_rounds: int = 2
    passes: int = 2
    """How often all knobs are gone through at most."""
    confirm_rounds: int = 3
    confirmed: int = 3
    """How many of the best are measured anew until one holds."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A setting and the baseline, measured anew side by side. Curves are medians over the rounds."""

    choice: Choice
    rounds: tuple[Round, ...]
    worth: float

    @property
    def curve(self) -> Curve:
        """The setting's."""
        return median_curve([each.curve for each in self.rounds])

    @property
    def baseline(self) -> Curve:
        """The baseline's beside it."""
        return median_curve([each.baseline for each in self.rounds])


@dataclass(frozen=True, slots=True)
class Tried:
    """What the search saw of a setting."""

    worth: float
    curve: Curve


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out. `chosen` is None where nothing kept the goal, the baseline included."""

    chosen: Confirmed | None
    last: Confirmed
    """What was confirmed last, taken or not: has the baseline's curve in any case."""
    tried: dict[Choice, Tried]
    """Every setting that was measured, the baseline as well."""
    broken: tuple[Choice, ...]
    """Settings that could not be served."""


class BaselineFailedError(RuntimeError):
    """The archive as it is could not be measured."""


@dataclass(slots=True)
class Search:
    """One search: `run` it once."""

    knobs: Sequence[Knob]
    goal: Goal
    measure: Measure
    thoroughness: Thoroughness = Thoroughness()
    _rounds: dict[Choice, list[Round]] = field(default_factory=dict)
    _broken: dict[Choice, None] = field(default_factory=dict)

    def run(self) -> Verdict:
        """Find the settings. Raises BaselineFailedError."""
        self._descend()
        ranked = sorted((each for each in self._rounds if each != BASELINE), key=self._worth, reverse=True)
        promising = [each for each in ranked if self._worth(each) > self._worth(BASELINE)]
        last = None
        for choice in promising[: self.thoroughness.confirmed]:
            last = self._confirm(choice) or last
            if last is not None and last.choice == choice and self._holds(last):
                return self._verdict(last, last)
        last = self._confirmed_baseline(last)
        return self._verdict(last if self._keeps(last) else None, last)

    def most_curves(self) -> int:
        """How many curves will be measured at most, for telling how far it is."""
        races = sum(2 + len(knob.others) for knob in self.knobs) * self.thoroughness.race_rounds
        return races * self.thoroughness.passes + 2 * self.thoroughness.confirm_rounds * self.thoroughness.confirmed

    def _descend(self) -> None:
        if not self.knobs:
            self._sit([])
        best = BASELINE
        for _ in range(self.thoroughness.passes):
            before = best
            for knob in self.knobs:
                best = self._race(best, knob)
            if best == before:
                return

    def _race(self, incumbent: Choice, knob: Knob) -> Choice:
        """The best value of one knob, the others as they are."""
        values = (knob.now, *knob.others)
        rivals = [incumbent.turned(knob, value) for value in values if value != incumbent.get(knob)]
        alive = [each for each in rivals if each not in self._broken and each not in self._rounds]
        for _ in range(self.thoroughness.race_rounds):
            if not alive:
                break
            self._sit([*([incumbent] if incumbent != BASELINE else []), *(each for each in alive if each != BASELINE)])
            alive = [each for each in alive if each not in self._broken]
            alive.sort(key=self._worth, reverse=True)
            alive = alive[: max(1, -(-len(alive) // 2))]
        known = [each for each in rivals if each in self._rounds]
        winner = max(known, key=self._worth, default=incumbent)
        return winner if self._is_better(winner, incumbent) else incumbent

    def _is_better(self, choice: Choice, than: Choice) -> bool:
        ours, theirs = self._worth(choice), self._worth(than)
        return ours > (theirs * MARGIN if theirs > 0 else theirs / MARGIN)

    def _sit(self, choices: Sequence[Choice]) -> None:
        curves = self.measure([BASELINE, *choices])
        baseline = curves[0]
        if baseline is None:
            raise BaselineFailedError("the archive as it is cannot be served, or does not answer its own load")
        for choice, curve in zip([BASELINE, *choices], curves, strict=True):
            if curve is None:
                self._broken[choice] = None
                self._rounds.pop(choice, None)
            else:
                self._rounds.setdefault(choice, []).append(Round(curve, baseline))

    def _confirm(self, choice: Choice) -> Confirmed | None:
        """Fresh figures; None where it broke."""
        rounds = []
        for _ in range(self.thoroughness.confirm_rounds):
            curves = self.measure([BASELINE, choice] if choice != BASELINE else [BASELINE])
            baseline, curve = curves[0], curves[-1]
            if baseline is None:
                raise BaselineFailedError("the archive as it is stopped answering its own load")
            if curve is None:
                self._broken[choice] = None
                return None
            rounds.append(Round(curve, baseline))
        return Confirmed(choice, tuple(rounds), self.goal.worth(rounds))

    def _confirmed_baseline(self, last: Confirmed | None) -> Confirmed:
        """The baseline's own fresh figures: those beside the last setting, if there are."""
        if last is None:
            found = self._confirm(BASELINE)
            assert found is not None, "a broken baseline raises"
            return found
        return _as_baseline(last, self.goal)

    def _holds(self, found: Confirmed) -> bool:
        return self._keeps(found) and found.worth > _as_baseline(found, self.goal).worth

    def _keeps(self, found: Confirmed) -> bool:
        return bool(self.goal.kept(found.curve))

    def _worth(self, choice: Choice) -> float:
        return self.goal.worth(self._rounds[choice]) if choice in self._rounds else float("-inf")

    def _verdict(self, chosen: Confirmed | None, last: Confirmed) -> Verdict:
        tried = {
            choice: Tried(self._worth(choice), median_curve([each.curve for each in rounds]))
            for choice, rounds in self._rounds.items()
        }
        return Verdict(chosen, last, tried, tuple(self._broken))


def _as_baseline(found: Confirmed, goal: Goal) -> Confirmed:
    """The baseline as it was confirmed beside another setting."""
    rounds = tuple(Round(each.baseline, each.baseline) for each in found.rounds)
    return Confirmed(BASELINE, rounds, goal.worth(rounds))
