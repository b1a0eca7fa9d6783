"""Which of the contents that wait may be small enough for the room that is free, however far behind they wait.

Each content is kept under the largest step that it lacks: what is larger than the room need not be looked at. What is
found may still be too large as a whole; so whoever asks looks at a few, and at others the next time.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from itertools import islice

from server.domain.model import StagedArchive, Step, StepDigest


class SmallOnes:
    """Contents by their largest missing step.

    `is_held` tells whether a step is in memory, or coming, and stays; `size_of` the bytes that a step will take on the
    device where it takes most.
    """

    def __init__(self, is_held: Callable[[StepDigest], bool], size_of: Callable[[Step], int]) -> None:
        self._is_held = is_held
        self._size_of = size_of
        self._largest: dict[str, tuple[int, StepDigest]] = {}
        self._shelves: dict[tuple[int, StepDigest], dict[str, StagedArchive]] = {}
        self._sizes: list[tuple[int, StepDigest]] = []
        """The shelves, the smallest first."""
        self._sizes_of: dict[StepDigest, set[int]] = {}
        self._first = 0
        """At which shelf the next look begins."""

    def enter(self, archive: StagedArchive) -> None:
        """It waits from now on."""
        missing = [(self._size_of(each), each.digest) for each in archive.steps if not self._is_held(each.digest)]
        if missing:
            shelf = self._largest[archive.key] = max(missing)
            if shelf not in self._shelves:
                self._shelves[shelf] = {}
                insort(self._sizes, shelf)
                self._sizes_of.setdefault(shelf[1], set()).add(shelf[0])
            self._shelves[shelf][archive.key] = archive

    def leave(self, key: str) -> None:
        """It waits no more."""
        shelf = self._largest.pop(key, None)
        if shelf is not None:
            del self._shelves[shelf][key]
            if not self._shelves[shelf]:
                self._clear_away(shelf)

    def held(self, digest: StepDigest) -> None:
        """Somebody holds a step that nobody held: who lacked it lacks less now."""
        for size in list(self._sizes_of.get(digest, ())):
            for archive in list(self._shelves[size, digest].values()):
                self.leave(archive.key)
                self.enter(archive)

    def size(self, key: str) -> int:
        """Bytes of its largest step that was missing when it came, or since; 0 where none was."""
        return self._largest.get(key, (0, StepDigest("")))[0]

    def within(self, room_bytes: int, most: int) -> Sequence[StagedArchive]:
        """At most so many that may fit into the room; others the next time."""
        count = bisect_right(self._sizes, (room_bytes, StepDigest("~")))
        found: list[StagedArchive] = []
        for turn in range(count):
            at = (self._first + turn) % count
            shelf = self._shelves[self._sizes[at]]
            looked_at = list(islice(shelf.values(), most - len(found)))
            for archive in looked_at:
                shelf[archive.key] = shelf.pop(archive.key)
            found += looked_at
            if len(found) >= most:
                self._first = at + (len(looked_at) == len(shelf))
                break
        return [self._again(archive) for archive in found]

    def _clear_away(self, shelf: tuple[int, StepDigest]) -> None:
        del self._shelves[shelf]
        del self._sizes[bisect_right(self._sizes, shelf) - 1]
        sizes = self._sizes_of[shelf[1]]
        sizes.remove(shelf[0])
        if not sizes:
            del self._sizes_of[shelf[1]]

    def _again(self, archive: StagedArchive) -> StagedArchive:
        """Steps come and go: file it anew where another step is the largest by now."""
        missing = [(self._size_of(each), each.digest) for each in archive.steps if not self._is_held(each.digest)]
        if self._largest[archive.key] != max(missing, default=None):
            self.leave(archive.key)
            self.enter(archive)
        return archive
