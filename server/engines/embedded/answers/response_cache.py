"""Answers of steps by what they were asked, least recently used out first, within a budget of bytes. Pure: no locks.

Keys are digests of requests, grouped by step, so that all answers of a step can go when it is unloaded.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

S = TypeVar("S", bound=Hashable)
V = TypeVar("V")


class ResponseCache(Generic[S, V]):
    """Values of a given size under (step, key). `budget_bytes` 0 keeps nothing."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes: Final = budget_bytes
        self._entries: OrderedDict[tuple[S, bytes], tuple[V, int]] = OrderedDict()
        self._keys_by_step: dict[S, set[bytes]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def total_bytes(self) -> int:
        """What all entries take together."""
        return self._bytes

    def get(self, step: S, key: bytes) -> V | None:
        """The value, which is the last to leave from now on; None where there is none."""
        entry = self._entries.get((step, key))
        if entry is None:
            return None
        self._entries.move_to_end((step, key))
        return entry[0]

    def put(self, step: S, key: bytes, value: V, size_bytes: int) -> int:
        """Keep a value in place of the older one, and let others leave until it fits; returns how many left.

        A value that is larger than the budget is not kept, and nothing leaves for it but its older self.
        """
        if (step, key) in self._entries:
            self._drop(step, key)
        if size_bytes > self.budget_bytes:
            return 0
        evicted = 0
        while self._bytes + size_bytes > self.budget_bytes:
            self._drop(*next(iter(self._entries)))
            evicted += 1
        self._entries[step, key] = value, size_bytes
        self._keys_by_step.setdefault(step, set()).add(key)
        self._bytes += size_bytes
        return evicted

    def forget(self, step: S) -> None:
        """Drop every answer of a step."""
        for key in tuple(self._keys_by_step.get(step, ())):
            self._drop(step, key)

    def _drop(self, step: S, key: bytes) -> None:
        _, size_bytes = self._entries.pop((step, key))
        self._bytes -= size_bytes
        keys = self._keys_by_step[step]
        keys.discard(key)
        if not keys:
            del self._keys_by_step[step]
