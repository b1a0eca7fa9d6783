"""The order in which contents wait for room, so that asking who is first costs the same however many wait.

There is a line for each group and urgency. Who becomes urgent, or ceases to be, changes the line and keeps the turn.
Where many wait, those who are urgent are served in rounds (`crowds.py`).
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import count
from math import inf

from server.domain.model import StagedArchive
from server.residency.planning.crowds import Crowd, Crowds


class Lines:
    """Contents by turn, which counts up with each arrival."""

    def __init__(self) -> None:
        self._turns: Iterator[int] = count()
        self._place: dict[str, tuple[bool, str, int]] = {}
        """By key: whether it is patient, its group, its turn."""
        self._archives: dict[int, StagedArchive] = {}
        self._lines: dict[tuple[bool, str], list[int]] = {}
        self.crowds = Crowds()

    def enter(self, archive: StagedArchive, group: str, *, is_patient: bool) -> None:
        """Come last in the line."""
        self._insert(archive, group, next(self._turns), is_patient=is_patient)

    def change(self, key: str, *, is_patient: bool) -> None:
        """Be in the patient line, or in the other one, from now on."""
        was_patient, group, turn = self._place[key]
        if was_patient != is_patient:
            archive = self._archives[turn]
            self.leave(key)
            self._insert(archive, group, turn, is_patient=is_patient)

    def leave(self, key: str) -> None:
        """Wait no more."""
        is_patient, group, turn = self._place.pop(key)
        del self._archives[turn]
        self.crowds.leave(key)
        line = self._lines[is_patient, group]
        del line[bisect_left(line, turn)]
        if not line:
            del self._lines[is_patient, group]

    def turn_of(self, key: str) -> tuple[bool, int]:
        """To sort by: the patient come after all others."""
        is_patient, _, turn = self._place[key]
        return is_patient, turn

    def has_urgent(self) -> bool:
        """Whether anybody waits who is not patient."""
        return any(not is_patient for is_patient, _ in self._lines)

    def in_turn(self, is_open: Callable[[str], bool], *, in_rounds: bool) -> Iterator[StagedArchive]:
        """The urgent ones, then the patient ones, each by turn. Lazy; the lines may change meanwhile.

        A group's line ends where `is_open(group)` is false. `in_rounds`: who is in a round comes first.
        """
        for wanted in (False, True):
            walks = [self._walk(wanted, group, is_open) for is_patient, group in self._lines if is_patient is wanted]
            turns = merge(*walks) if len(walks) > 1 else (turn for walk in walks for turn in walk)
            for turn in self._in_rounds(turns, is_open) if in_rounds and not wanted else turns:
                yield self._archives[turn]

    def _walk(self, is_patient: bool, group: str, is_open: Callable[[str], bool]) -> Iterator[int]:
        turn = -1
        while is_open(group):
            line = self._lines.get((is_patient, group), [])
            index = bisect_right(line, turn)
            if index == len(line):
                break
            turn = line[index]
            yield turn

    def _in_rounds(self, turns: Iterator[int], is_open: Callable[[str], bool]) -> Iterator[int]:
        """Each turn, and everybody who is in a round by then at the turn of who opened it."""
        seen: dict[Crowd, int] = {}
        for turn in turns:
            yield from self.crowds.in_rounds(seen, turn, is_open)
            archive = self._archives.get(turn)
            if archive is not None and not self.crowds.is_in_round(archive.key):
                yield turn
        yield from self.crowds.in_rounds(seen, inf, is_open)

    def _insert(self, archive: StagedArchive, group: str, turn: int, *, is_patient: bool) -> None:
        self._place[archive.key] = is_patient, group, turn
        self._archives[turn] = archive
        if not is_patient:
            self.crowds.enter(archive, group, turn)
        insort(self._lines.setdefault((is_patient, group), []), turn)
