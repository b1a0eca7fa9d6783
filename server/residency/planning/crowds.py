"""Who waits for the same large step, and whose round it is: the order in which a crowd is served while many wait.

Fifty that wait for heads on one base, served as they came, have it loaded for each of them as other bases push it out
in between. So they are served together: when the one that came first gets its turn, everybody who waits for the same
base by then is served right behind it, in a *round*, which keeps that turn until it is over. Who comes later waits for
the crowd's next round. A round is thus finite, only who has come first opens one, and so each crowd passes anybody once
at most: nobody starves. That holds because everybody who is urgent is in a crowd, also in a group with a quota: there
each base has a crowd of its own.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from server.domain.model import StagedArchive, Step, StepDigest

Crowd: TypeAlias = tuple[str, StepDigest]
"""A group (empty: no quota), and the step that its members wait for."""
_BEFORE_ALL: Final = -1
"""Less than any turn."""


class Crowds:
    """Contents by group and by the largest of their steps, each with its turn, which counts up with each arrival."""

    def __init__(self) -> None:
        self._place: dict[str, tuple[Crowd, int]] = {}
        """By key: its crowd, its turn."""
        self._turns: dict[Crowd, list[int]] = {}
        self._rounds: dict[Crowd, tuple[int, int]] = {}
        """By crowd: whose turn it was when its round was opened, and the last turn that is in it."""

    def enter(self, archive: StagedArchive, group: str, turn: int) -> None:
        """It waits from now on."""
        crowd = group, max(archive.steps, key=_size_of).digest
        self._place[archive.key] = crowd, turn
        insort(self._turns.setdefault(crowd, []), turn)

    def leave(self, key: str) -> None:
        """It waits no more; where it is not known, nothing happens."""
        crowd, turn = self._place.pop(key, (None, 0))
        if crowd is None:
            return
        turns = self._turns[crowd]
        del turns[bisect_left(turns, turn)]
        if not turns:
            del self._turns[crowd]
        if crowd in self._rounds and (not turns or turns[0] > self._rounds[crowd][1]):
            del self._rounds[crowd]

    def open(self, key: str) -> None:
        """Everybody who waits for the same step now comes right behind this one, whose turn it is."""
        crowd, turn = self._place.get(key, (None, 0))
        if crowd is not None and not self.is_in_round(key):
            last = self._turns[crowd][-1]
            self._rounds[crowd] = turn, last

    def close(self) -> None:
        """No rounds, until they are opened again."""
        self._rounds.clear()

    def is_in_round(self, key: str) -> bool:
        """Whether its round was opened, and it was there by then."""
        crowd, turn = self._place.get(key, (None, 0))
        return crowd in self._rounds and turn <= self._rounds[crowd][1]

    def in_rounds(self, seen: dict[Crowd, int], before: float, is_open: Callable[[str], bool]) -> Iterator[int]:
        """Turns of all in rounds that were opened by who came `before` that turn: by opener, then in order of arrival.

        Lazy; rounds may change meanwhile. `seen` is how far each round was looked at; who goes on, hands it in again.
        A group's rounds end where `is_open(group)` is false.
        """
        for crowd in sorted(self._rounds, key=self._rank):
            while crowd in self._rounds and self._rank(crowd) < before and is_open(crowd[0]):
                turns = self._turns[crowd]
                index = bisect_right(turns, seen.get(crowd, _BEFORE_ALL))
                if index == len(turns) or turns[index] > self._rounds[crowd][1]:
                    break
                seen[crowd] = turns[index]
                yield turns[index]

    def _rank(self, crowd: Crowd) -> int:
        """The turn at which a round is served: its opener's, or that of somebody older who became urgent later."""
        return min(self._rounds[crowd][0], self._turns[crowd][0])


def _size_of(step: Step) -> int:
    """Roughly: it is asked for each newcomer, and has to be the same when others come."""
    return max(step.file_bytes, *step.predicted.bytes_by_device.values(), 0)
