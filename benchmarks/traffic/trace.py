"""What was asked for, and when: the words that the generator, the access log and the simulator share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Part:
    """Content that is in memory once, however many archives have it."""

    digest: str
    bytes: int
    load_s: float


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive as the sum of its parts."""

    name: str
    group: str
    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        """What it takes when it shares with no one."""
        return sum(part.bytes for part in self.parts)

    @property
    def load_s(self) -> float:
        """How long it loads when none of it is there."""
        return sum(part.load_s for part in self.parts)


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of time. `asked[i]` is an index into `archives`."""

    times: NDArray[np.float64]
    """Seconds, ascending."""
    asked: NDArray[np.int64]
    archives: tuple[Archive, ...]

    def __len__(self) -> int:
        return len(self.asked)


def unshared(archives: tuple[Archive, ...]) -> tuple[Archive, ...]:
    """The same archives where nothing is shared: each is one part of its own."""
    return tuple(
        Archive(archive.name, archive.group, (Part(f"whole:{archive.name}", archive.bytes, archive.load_s),))
        for archive in archives
    )


def equal(count: int) -> tuple[Archive, ...]:
    """Archives of one byte and one second each: a budget of n bytes is then n slots."""
    return tuple(Archive(f"m{index}", "", (Part(f"p{index}", 1, 1.0),)) for index in range(count))
