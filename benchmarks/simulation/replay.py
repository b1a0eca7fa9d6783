"""Replays one trace against one policy within one budget."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.memory import Memory
from benchmarks.simulation.policies import Policy, Setting
from benchmarks.traffic.trace import Archive, Trace


@dataclass(slots=True)
class Outcome:
    """What a policy cost. The clock is the trace's; a load is done before the next request comes."""

    requests: int = 0
    misses: int = 0
    refused: int = 0
    """Requests for archives that are larger than the budget: never loaded, and not counted as misses."""
    evictions: int = 0
    bytes_moved: int = 0
    waits_s: list[float] = field(default_factory=list)
    """Load seconds of each miss, in order."""
    resident: frozenset[int] = frozenset()
    """The archives in memory after the last request."""

    @property
    def miss_ratio(self) -> float:
        """Misses per request that could be served."""
        return self.misses / max(self.requests - self.refused, 1)

    @property
    def load_seconds(self) -> float:
        """Seconds spent loading, all in all."""
        return float(sum(self.waits_s))

    def document(self) -> dict[str, float | int]:
        """Ready for JSON. Waits are what a request had to wait for its archive's load, cold ones and all."""
        cold = np.array(self.waits_s or [0.0])
        every = np.zeros(max(self.requests - self.refused, 1))
        every[: len(self.waits_s)] = self.waits_s
        return {
            "requests": self.requests,
            "misses": self.misses,
            "refused": self.refused,
            "evictions": self.evictions,
            "miss_ratio": round(self.miss_ratio, 5),
            "load_seconds": round(self.load_seconds, 2),
            "load_seconds_per_100_requests": round(100 * self.load_seconds / max(self.requests, 1), 3),
            "gigabytes_moved": round(self.bytes_moved / 1e9, 3),
            "bytes_loaded": self.bytes_moved,
            **{f"cold_start_p{q}_s": round(float(np.percentile(cold, q)), 4) for q in (50, 95, 99)},
            "wait_p99_s": round(float(np.percentile(every, 99)), 4),
        }


class ChurnGuard:
    """Who was loaded so recently that others should leave first. Times are the trace's, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._resident_since: dict[int, float] = {}

    def loaded(self, archive: int, at: float) -> None:
        """An archive became resident."""
        if self._seconds:
            self._resident_since[archive] = at

    def spared(self, at: float) -> Collection[int]:
        """The archives to spare; one that left since may be among them."""
        if self._resident_since:
            limit = at - self._seconds
            self._resident_since = {each: since for each, since in self._resident_since.items() if since > limit}
        return self._resident_since.keys()


def next_uses(asked: NDArray[np.int64]) -> list[int]:
    """For each request the index of the next one for the same archive; twice the length where there is none."""
    order = np.argsort(asked, kind="stable")
    following = np.full(len(asked), 2 * len(asked))
    same = asked[order[1:]] == asked[order[:-1]]
    following[order[:-1][same]] = order[1:][same]
    result: list[int] = following.tolist()
    return result


def replay(
    trace: Trace,
    archives: tuple[Archive, ...],
    policy_for: Callable[[Setting], Policy],
    budget: int,
    *,
    next_use: list[int] | None = None,
    warm_up: int = 0,
    churn_guard_s: float = 0.0,
) -> Outcome:
    """Serve every request of `trace`, loading what is missing and evicting what the policy chooses.

    `archives` stand in for the trace's own, index by index (`unshared(...)` for a host that shares nothing). The first
    `warm_up` requests are served but not counted. `next_use` saves computing it again.
    For `churn_guard_s` seconds after its load an archive leaves only if there is no other.
    """
    future = next_uses(trace.asked) if next_use is None else next_use
    policy = policy_for(Setting(budget, len(archives), future))
    memory = Memory(archives)
    guard = ChurnGuard(churn_guard_s)
    resident = [False] * len(archives)
    outcome = Outcome()
    counted = Outcome(requests=len(trace) - min(warm_up, len(trace)))
    times = trace.times.tolist() if churn_guard_s else [0.0] * len(trace)
    for at, archive in enumerate(trace.asked.tolist()):
        if at == warm_up:
            outcome = counted
        if resident[archive]:
            policy.used(archive, at)
            continue
        if memory.whole[archive] > budget:
            outcome.refused += 1
            continue
        load = memory.hold(archive)  # before anything leaves: what it shares with a victim stays
        while memory.used > budget:
            victim = policy.victim(at, guard.spared(times[at]))
            memory.release(victim)
            resident[victim] = False
            outcome.evictions += 1
        resident[archive] = True
        guard.loaded(archive, times[at] + load.load_s)
        policy.loaded(archive, at, load)
        outcome.misses += 1
        outcome.bytes_moved += load.bytes
        outcome.waits_s.append(load.load_s)
    counted.resident = frozenset(index for index, there in enumerate(resident) if there)
    return counted
