"""How thorough a scenario is to be, and how far it has come."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

_FEWEST: Final = 3
"""Rounds below which a median says little; a quick result says that it is one."""


@dataclass
class Pace:
    """Handed to each scenario's `run`.

    `tell` hears a line per round; `expected_s` is how long the scenario took the last time, if that is known.
    """

    is_quick: bool = False
    with_peers: bool = False
    peers: tuple[str, ...] = ()
    """Those that the scenario `peers` shall have; all for none."""
    tell: Callable[[str], None] = print
    expected_s: float | None = None
    now: Callable[[], float] = perf_counter
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.now()

    def rounds(self, full: int = _FEWEST, quick: int = 2, *, of: str = "") -> Iterator[int]:
        """Count rounds from 0, telling of each before it begins."""
        count, first = self.of(full, quick), self.now()
        for index in range(count):
            spent = self.now() - first
            left = spent / index * (count - index) if index else self._left()
            about = f", about {left:.0f} s left" if left is not None else ""
            self.tell(f"{of + ': ' if of else ''}round {index + 1} of {count}{about}")
            yield index

    def of(self, full: int, quick: int) -> int:
        """The one or the other, by thoroughness."""
        return quick if self.is_quick else full

    def seconds(self, full: float, quick: float) -> float:
        """How long to keep up a load."""
        return quick if self.is_quick else full

    def _left(self) -> float | None:
        if self.expected_s is None:
            return None
        return max(0.0, self.expected_s - (self.now() - self.began))
