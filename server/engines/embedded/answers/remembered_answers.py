"""`response_cache { enable: true }`: a step that was asked the same before answers from memory.

Requests that are equal and under way at the same time run once (single flight): the first one *leads*, the others
follow. A failure is never kept, and never shared: those who followed it then ask for themselves. A leader that leaves
before it could begin gives its place to a follower. Coroutines (entry requests) and threads (ensemble steps, BLS
calls) stand in the same flights. A leader that holds the place waits only for an instance of the step, and who holds
one waits only for steps below it: so nobody waits for somebody who waits for them.

Answers are copies that own their memory, and read-only; they go when their step is unloaded.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import StepDigest
from server.engines.embedded.answers.request_digest import owned, read_only, request_digest, size_bytes
from server.engines.embedded.answers.response_cache import ResponseCache


class End(Enum):
    """How a flight ended without an answer."""

    FAILED = "failed"
    """The leader's execution failed."""
    ABANDONED = "abandoned"
    """The leader left before it began."""


Outcome: TypeAlias = InferenceResponse | End
_Key: TypeAlias = tuple[StepDigest, bytes]


@dataclass(frozen=True, slots=True)
class Flight:
    """Equal requests under way. Whoever leads must call `RememberedAnswers.land` in the end."""

    step: StepDigest
    key: bytes
    is_leader: bool
    landed: "Future[Outcome]"


class RememberedAnswers:
    """The answers of all steps that ask for it, for every thread."""

    def __init__(self, budget_bytes: int) -> None:
        self._kept: Final[ResponseCache[StepDigest, InferenceResponse]] = ResponseCache(budget_bytes)
        self._lock: Final = threading.Lock()
        self._flights: dict[_Key, Future[Outcome]] = {}
        self._open: set[StepDigest] = set()
        self._hits = self._misses = self._evictions = 0

    def open(self, step: StepDigest) -> None:
        """Begin to keep answers of a step."""
        with self._lock:
            self._open.add(step)

    def close(self, step: StepDigest) -> None:
        """Drop the answers of a step, and keep none that comes later."""
        with self._lock:
            self._open.discard(step)
            self._kept.forget(step)

    def enter(self, step: StepDigest, key: bytes) -> InferenceResponse | Flight:
        """The answer that is kept, or a place in the flight that will bring it."""
        with self._lock:
            kept = self._kept.get(step, key)
            if kept is not None:
                self._hits += 1
                return kept
            landed = self._flights.get((step, key))
            if landed is not None:
                return Flight(step, key, is_leader=False, landed=landed)
            self._misses += 1
            landed = self._flights[step, key] = Future()
            return Flight(step, key, is_leader=True, landed=landed)

    def land(self, flight: Flight, outcome: Outcome) -> Outcome:
        """End a flight that the caller leads; returns what its followers get."""
        size = 0
        if isinstance(outcome, InferenceResponse):
            size = size_bytes(outcome.outputs)
            outcome = owned(outcome) if size <= self._kept.budget_bytes else read_only(outcome)
        with self._lock:
            if isinstance(outcome, InferenceResponse) and flight.step in self._open:
                self._evictions += self._kept.put(flight.step, flight.key, outcome, size)
            del self._flights[flight.step, flight.key]
        flight.landed.set_result(outcome)
        return outcome

    def lead(self, flight: Flight, run: Callable[[], InferenceResponse]) -> InferenceResponse:
        """Run for everybody in the flight, on this thread. Raises what `run` raises."""
        outcome: Outcome = End.FAILED
        try:
            outcome = run()
        finally:
            outcome = self.land(flight, outcome)
        assert isinstance(outcome, InferenceResponse), "a run without an error has an answer. This is a bug."
        return outcome

    def followed(self) -> None:
        """Count a request that another one's execution answered."""
        with self._lock:
            self._hits += 1

    def answer(
        self, step: StepDigest, request: InferenceRequest, run: Callable[[], InferenceResponse]
    ) -> InferenceResponse:
        """Answer from memory, from a flight, or by `run` on this thread. Raises what `run` raises."""
        key = request_digest(request)
        while True:
            found = self.enter(step, key)
            if isinstance(found, InferenceResponse):
                return found
            if found.is_leader:
                return self.lead(found, run)
            outcome = found.landed.result()
            if isinstance(outcome, InferenceResponse):
                self.followed()
                return outcome
            if outcome is End.FAILED:
                return read_only(run())

    def facts(self) -> Mapping[str, int]:
        """Figures for people and metrics: entries, bytes, budget, and what was hit, missed and evicted so far."""
        with self._lock:
            return {
                "entries": len(self._kept),
                "bytes": self._kept.total_bytes,
                "budget_bytes": self._kept.budget_bytes,
                "hits": self._hits,
                "misses": self._misses,
                "evictions": self._evictions,
            }
