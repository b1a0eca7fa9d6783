"""Which steps may not be deleted: those that residency retains, and those that it was given and may be about to load.

No I/O; the clock is passed in. Thread-safe, and never holds its lock for long: residency calls from the event loop.
"""

import threading
from collections.abc import Collection, Iterable
from typing import Final

from server.domain.clock import Clock
from server.domain.model import StepDigest

HANDED_OUT_S: Final = 30.0
"""How long steps stay after they were handed out, unless residency takes them over (and drops them) earlier."""


class Protection:
    """Retained steps, and handed-out ones for a while."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._retained: frozenset[StepDigest] = frozenset()
        self._until: dict[StepDigest, float] = {}

    def retain(self, digests: Collection[StepDigest]) -> None:
        """These, and no others that were retained before."""
        retained = frozenset(digests)
        with self._lock:
            self._retained = retained
            for digest in retained & self._until.keys():
                del self._until[digest]

    def hand_out(self, digests: Iterable[StepDigest]) -> None:
        """Somebody got these and may be about to load them."""
        until = self._clock.now() + HANDED_OUT_S
        with self._lock:
            self._until.update({digest: until for digest in digests if digest not in self._retained})

    def steps(self) -> frozenset[StepDigest]:
        """What may not be deleted now."""
        now = self._clock.now()
        with self._lock:
            self._until = {digest: until for digest, until in self._until.items() if until > now}
            return self._retained.union(self._until)
