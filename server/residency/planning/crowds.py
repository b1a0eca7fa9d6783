"""Who waits for the same large step, and whose round it is: the order in which a crowd is served while many wait.

Fifty that wait for heads on one base, served as they came, have it loaded for each of them as other bases push it out
in between. So they are served together: when the one that came first gets its turn, everybody who waits for the same
base by then is served right behind it, in a *round*. Who comes later waits for the crowd's next round. A round is thus
finite, only who has come first opens one, and so each crowd passes anybody once at most: nobody starves.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Final

from server.domain.model import StagedArchive, Step, StepDigest

IN_ROUND: Final = -1


class Crowds:
    """Contents by the largest of their steps, each with its turn, which counts up with each arrival."""

    def __init__(self) -> None:
        self._place: dict[str, tuple[StepDigest, int]] = {}
        """By key: its crowd, its turn."""
        self._turns: dict[StepDigest, list[int]] = {}
        self._rounds: dict[StepDigest, int] = {}
        """By crowd: the last turn that is in its round; in the order in which the rounds were opened."""

    def enter(self, archive: StagedArchive, turn: int) -> None:
        """It waits from now on."""
        crowd = max(archive.steps, key=_size_of).digest
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
        if not turns or turns[0] > self._rounds.get(crowd, turns[0]):
            self._rounds.pop(crowd, None)

    def open(self, key: str) -> None:
        """Everybody who waits for the same step now comes right behind this one, whose turn it is."""
        crowd, _ = self._place.get(key, (None, 0))
        if crowd is not None and not self.is_in_round(key):
            self._rounds[crowd] = self._turns[crowd][-1]

    def close(self) -> None:
        """No rounds, until they are opened again."""
        self._rounds.clear()

    def is_in_round(self, key: str) -> bool:
        """Whether its round was opened, and it was there by then."""
        crowd, turn = self._place.get(key, (None, 0))
        return crowd is not None and turn <= self._rounds.get(crowd, IN_ROUND)

    def in_rounds(self, seen: dict[StepDigest, int]) -> Iterator[int]:
        """Turns of all that are in a round: the round that was opened first, in order of arrival, then the next.

        Lazy; rounds may change meanwhile. `seen` is how far each round was looked at; who goes on, hands it in again.
        """
        for crowd in list(self._rounds):
            while crowd in self._rounds:
                turns = self._turns[crowd]
                index = bisect_right(turns, seen.get(crowd, IN_ROUND))
                if index == len(turns) or turns[index] > self._rounds[crowd]:
                    break
                seen[crowd] = turns[index]
                yield turns[index]


def _size_of(step: Step) -> int:
    """Roughly: it is asked for each newcomer, and has to be the same when others come."""
    return max(step.file_bytes, *step.predicted.bytes_by_device.values(), 0)
