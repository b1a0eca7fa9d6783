"""Which steps may not be deleted: those that residency retains, and those that it was given and may be about to load.

No I/O; the clock is passed in. Thread-safe, and never holds its lock for long: residency calls from the event loop.
"""

import threading
from collections.abc import Callable, Collection, Iterable
from typing import Final

from server.domain.clock import Clock
from server.domain.model import StepDigest

HANDED_OUT_S: Final = 30.0
"""How long steps stay after they were handed out, unless residency takes them over (and drops them) earlier."""
HANDED_OUT_AGAIN_S: Final = 1.0
"""How long they stay if residency retains them already, for others: it may drop them before it hears of this."""


class Protection:
    """Retained steps, and handed-out ones for a while."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._retained: frozenset[StepDigest] = frozenset()
        self._until: dict[StepDigest, float] = {}
        self._until_again: dict[StepDigest, float] = {}

    def retain(self, digests: Collection[StepDigest]) -> None:
        """These, and no others that were retained before."""
        retained = frozenset(digests)
        with self._lock:
            self._retained = retained
            for digest in retained & self._until.keys():
                del self._until[digest]

    def hand_out(self, digests: Iterable[StepDigest]) -> None:
        """Somebody got these and may be about to load them."""
        with self._lock:
            self._hand_out(digests)

    def claim(self, find: Callable[[], Collection[StepDigest] | None]) -> bool:
        """Hand out what `find` finds, if anything; `give_up` comes before that as a whole, or after it."""
        with self._lock:
            found = find()
            self._hand_out(found or ())
            return found is not None

    def give_up(self, digests: Collection[StepDigest], forget: Callable[[], None]) -> bool:
        """Call `forget`, after which nobody finds these steps any more; not if they are protected by now."""
        with self._lock:
            is_free = self._steps().isdisjoint(digests)
            if is_free:
                forget()
            return is_free

    def retained(self) -> frozenset[StepDigest]:
        """What residency wants to stay."""
        with self._lock:
            return self._retained

    def handed_out(self) -> frozenset[StepDigest]:
        """What somebody got a moment ago."""
        with self._lock:
            return self._handed_out()

    def steps(self) -> frozenset[StepDigest]:
        """What may not be deleted now."""
        with self._lock:
            return self._steps()

    def _hand_out(self, digests: Iterable[StepDigest]) -> None:
        now = self._clock.now()
        for digest in digests:
            if digest in self._retained:
                self._until_again[digest] = now + HANDED_OUT_AGAIN_S
            else:
                self._until[digest] = now + HANDED_OUT_S

    def _handed_out(self) -> frozenset[StepDigest]:
        now = self._clock.now()
        self._until = {digest: until for digest, until in self._until.items() if until > now}
        self._until_again = {digest: until for digest, until in self._until_again.items() if until > now}
        return frozenset(self._until).union(self._until_again)

    def _steps(self) -> frozenset[StepDigest]:
        return self._retained | self._handed_out()
