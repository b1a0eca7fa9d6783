"""Loaded first leaves first, used or not: the floor that every policy has to beat."""

from collections import deque

from benchmarks.simulation.policies.policy import Load, Setting


class Fifo:
    """A queue."""

    def __init__(self, _: Setting) -> None:
        self._queue: deque[int] = deque()

    def used(self, archive: int, at: int) -> None:
        """Changes nothing."""

    def loaded(self, archive: int, at: int, load: Load) -> None:  # noqa: ARG002 - the seam's
        """To the back."""
        self._queue.append(archive)

    def victim(self, at: int) -> int:  # noqa: ARG002 - the seam's
        """From the front."""
        return self._queue.popleft()
