"""A step's instances: each serves one request at a time, N of them serve N."""

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from server.domain.errors import InferenceFailed, RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse


class Instance(Protocol):
    """One copy of a model, in this process or in one of its own."""

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run one request to its first answer. Raises InferenceFailed."""
        ...

    def execute_all(self, requests: Sequence[InferenceRequest]) -> Sequence[InferenceResponse | RoundhouseError]:
        """Run a batch of a model that is not decoupled: one outcome each."""
        ...

    def stream(self, request: InferenceRequest) -> Generator[InferenceResponse, None, None]:
        """Run one request of any model. Closing the iterator cancels. Raises InferenceFailed."""
        ...

    def outside_bytes(self) -> int:
        """Memory outside this process."""
        ...

    def close(self) -> None:
        """End it; a request that is under way fails where that is possible."""
        ...


class InstancePool:
    """Lends instances out, the most recently used first, since its memory is warm."""

    def __init__(self, name: str, instances: Sequence[Instance]) -> None:
        self._name = name
        self._all = tuple(instances)
        self._free = list(instances)
        self._changed = threading.Condition()
        self._is_closed = False

    @contextmanager
    def lend(self) -> Iterator[Instance]:
        """Wait for a free instance, and take it for the length of the block. Raises InferenceFailed once closed."""
        with self._changed:
            while not self._free and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                raise InferenceFailed(f"step {self._name!r} has been unloaded")
            instance = self._free.pop()
        try:
            yield instance
        finally:
            with self._changed:
                self._free.append(instance)
                self._changed.notify()

    def outside_bytes(self) -> int:
        """Memory of all instances outside this process."""
        return sum(instance.outside_bytes() for instance in self._all)

    def close(self, grace_s: float) -> None:
        """Take no more requests, give those under way some time to end, and end all instances. Idempotent."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._free) == len(self._all), grace_s)
        for instance in self._all:
            instance.close()
