"""Whether a step runs so quickly that handing it to a thread would take longer than running it.

A hop to a thread and back costs a tenth of a millisecond and more where many requests fight for the interpreter's
lock. A small model takes less than that. So a step that has shown itself quick runs on the event loop.

It keeps an account, in seconds: every quick run earns a little, every slow run costs what it took, and only who is not
in debt may use the loop. So slow runs hold up the loop for no more than `EARNS_S` per run, whatever a step does; single
slow runs (the processor was elsewhere) are forgiven.

What counts is the processor time of the thread that ran it: wall time would count the wait for the lock as well, and a
busy server would never find out that a step is quick.
"""

from time import thread_time
from typing import Final

from server.domain.inference import InferenceRequest

QUICK_S: Final = 300e-6
"""Processor time up to which a run is quick: what a run of some tens of microseconds takes on a busy host."""
EARNS_S: Final = 20e-6
PROOF: Final = 16
"""Quick runs before the loop is used for the first time."""
MOST_S: Final = 1e-3
LEAST_S: Final = -0.2
"""The deepest debt: ten thousand quick runs pay for it."""

thread_seconds = thread_time
"""Processor seconds of the calling thread."""


class Pace:
    """What one step's runs have shown. Threads may note at the same time: a count that is lost only delays the loop."""

    __slots__ = ("_account_s", "_shown_bytes")

    def __init__(self) -> None:
        self._account_s = -PROOF * EARNS_S
        self._shown_bytes = -1

    def is_quick(self, size: int) -> bool:
        """Whether a request of `size` bytes will be quick: it is no larger than one that was, and nothing is owed."""
        return 0 <= size <= self._shown_bytes and self._account_s > -EARNS_S / 2

    def note(self, size: int, took_s: float) -> None:
        """Learn from a run of a request of `size` bytes that took `took_s` processor seconds."""
        if took_s <= QUICK_S:
            self._account_s = min(self._account_s + EARNS_S, MOST_S)
            self._shown_bytes = max(self._shown_bytes, size)
        elif size <= self._shown_bytes:  # that a larger request is slower says nothing about the small ones
            self._account_s = max(self._account_s - took_s, LEAST_S)


def size_of(request: InferenceRequest) -> int:
    """Bytes of the inputs; -1 where that says nothing about the work (BYTES elements are of any length)."""
    size = 0
    for tensor in request.inputs.values():
        if tensor.data.dtype.hasobject:
            return -1
        size += tensor.data.nbytes
    return size
