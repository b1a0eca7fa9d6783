"""S3-FIFO (Yang et al., SOSP 2023), by bytes: a small queue on probation, a main queue, and a memory of who left."""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterator
from typing import Final

from benchmarks.simulation.policies.policy import Load, Setting

_MOST: Final = 3


class S3Fifo:
    """Three queues. Small has a tenth of the budget; the ghost remembers as many bytes as main holds."""

    def __init__(self, setting: Setting) -> None:
        self._small_limit = setting.budget / 10
        self._ghost_limit = setting.budget - self._small_limit
        self._small: deque[int] = deque()
        self._main: deque[int] = deque()
        self._ghost: OrderedDict[int, None] = OrderedDict()
        self._small_bytes = self._ghost_bytes = 0
        self._bytes = [0] * setting.archives
        self._uses = [0] * setting.archives

    def used(self, archive: int, at: int) -> None:  # noqa: ARG002 - the seam's
        """Counted up to three."""
        if self._uses[archive] < _MOST:
            self._uses[archive] += 1

    def loaded(self, archive: int, at: int, load: Load) -> None:  # noqa: ARG002 - the seam's
        """Into main if it left lately, else on probation."""
        self._uses[archive] = 0
        if archive in self._ghost:
            del self._ghost[archive]
            self._ghost_bytes -= self._bytes[archive]
            self._main.append(archive)
        else:
            self._small.append(archive)
            self._small_bytes += load.bytes
        self._bytes[archive] = load.bytes

    def victim(self, at: int, spared: Collection[int] = ()) -> int:  # noqa: ARG002 - the seam's
        """From small while it has its tenth (who was used moves to main), else from main (who was used stays)."""
        passed: list[tuple[int, bool]] = []
        for archive, is_small in self._leaving():
            if archive not in spared:
                break
            passed.append((archive, is_small))
        else:
            archive, is_small = passed.pop(0)
        for other, other_is_small in reversed(passed):
            (self._small if other_is_small else self._main).appendleft(other)
            self._small_bytes += self._bytes[other] * other_is_small
        if is_small:
            self._remember(archive)
        return archive

    def _leaving(self) -> Iterator[tuple[int, bool]]:
        """Take archives out, and yield those that leave; whether from small."""
        while self._small or self._main:
            if self._small and (self._small_bytes >= self._small_limit or not self._main):
                archive = self._small.popleft()
                self._small_bytes -= self._bytes[archive]
                if self._uses[archive] <= 1:
                    yield archive, True
                    continue
                self._uses[archive] = 0
            else:
                archive = self._main.popleft()
                if self._uses[archive] == 0:
                    yield archive, False
                    continue
                self._uses[archive] -= 1
            self._main.append(archive)

    def _remember(self, archive: int) -> None:
        self._ghost[archive] = None
        self._ghost_bytes += self._bytes[archive]
        while self._ghost_bytes > self._ghost_limit and self._ghost:
            forgotten, _ = self._ghost.popitem(last=False)
            self._ghost_bytes -= self._bytes[forgotten]
