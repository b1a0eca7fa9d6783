"""Loaded first leaves first, used or not: the floor that every policy has to beat."""

from collections import deque
from collections.abc import Collection

from benchmarks.simulation.policies.policy import Load, Setting, first_of


class Fifo:
    """A queue."""

    def __init__(self, _: Setting) -> None:
        self._queue: deque[int] = deque()

    def used(self, archive: int, at: int) -> None:
        """Changes nothing."""

    def loaded(self, archive: int, at: int, load: Load) -> None:  # noqa: ARG002 - the seam's
        """To the back."""
        self._queue.append(archive)

    def victim(self, at: int, spared: Collection[int] = ()) -> int:  # noqa: ARG002 - the seam's
        """From the front."""
        archive = first_of(self._queue, spared)
        self._queue.remove(archive)
        return archive
