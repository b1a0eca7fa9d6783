"""Greedy-Dual-Size-Frequency (Cherkasova, 1998): frequency x load seconds / bytes, ageing by the value of victims."""

import heapq
from collections.abc import Collection

from benchmarks.simulation.policies.policy import Load, Setting


class Gdsf:
    """A heap of values that is put right only where it is looked at: values of residents never fall."""

    def __init__(self, setting: Setting) -> None:
        self._age = 0.0
        self._values = [0.0] * setting.archives
        self._uses = [0] * setting.archives
        self._costs = [0.0] * setting.archives
        self._heap: list[tuple[float, int]] = []

    def used(self, archive: int, at: int) -> None:  # noqa: ARG002 - the seam's
        """Worth more by one use, and as fresh as a new one."""
        self._uses[archive] += 1
        self._values[archive] = self._age + self._uses[archive] * self._costs[archive]

    def loaded(self, archive: int, at: int, load: Load) -> None:  # noqa: ARG002 - the seam's
        """Judged by what this load moved and took."""
        self._uses[archive] = 1
        self._costs[archive] = load.load_s / max(load.bytes, 1)
        self._values[archive] = self._age + self._costs[archive]
        heapq.heappush(self._heap, (self._values[archive], archive))

    def victim(self, at: int, spared: Collection[int] = ()) -> int:  # noqa: ARG002 - the seam's
        """The least valuable; what stays ages by its value."""
        passed: list[tuple[float, int]] = []
        while self._heap and (least := self._least())[1] in spared:
            passed.append(least)
            heapq.heappop(self._heap)
        if self._heap:
            value, archive = heapq.heappop(self._heap)
        else:
            value, archive = passed.pop(0)
        for each in passed:
            heapq.heappush(self._heap, each)
        self._age = value
        return archive

    def _least(self) -> tuple[float, int]:
        while (top := self._heap[0])[0] < self._values[top[1]]:
            heapq.heapreplace(self._heap, (self._values[top[1]], top[1]))
        return top
