"""The fidelity certificate: does the generated traffic miss like the real one?

The real one is GenTD26 (26,798 requests, 86 models, 23 days), replayed with equal sizes; its miss curves are published,
the trace may not be shipped. The generator is given that trace's popularity, and its own sessions.
"""

from collections.abc import Callable
from statistics import mean
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.policies import POLICIES
from benchmarks.simulation.replay import next_uses, replay
from benchmarks.traffic.arrivals import Arrivals, poisson, sessions
from benchmarks.traffic.popularity import gentd26, zipf
from benchmarks.traffic.trace import Trace, equal

SLOTS: Final = (4, 8, 16, 32)
REAL: Final = {
    "fifo": (37.8, 19.1, 8.1, 3.2),
    "lru": (34.2, 14.7, 5.2, 2.0),
    "s3-fifo": (31.9, 14.2, 4.5, 1.9),
    "belady": (22.0, 8.4, 2.9, 1.0),
}
"""Misses per 100 requests after the first thousand, at 4, 8, 16 and 32 slots."""
POISSON_LRU: Final = (54.3, 30.3, 12.3, 4.8)
"""The published LRU curve of independent arrivals with that trace's popularity."""
SESSIONS_LRU: Final = (31.8, 15.6, 6.3, 2.5)
"""The published LRU curve of a sessions generator."""
REQUESTS: Final = 26_798
DAYS: Final = 23
SEEDS: Final = (1, 2, 3)
WARM_UP: Final = 1000

_Draw = Callable[[NDArray[np.float64], int], Arrivals]


def _sessions(shares: NDArray[np.float64], seed: int) -> Arrivals:
    return sessions(shares, REQUESTS, DAYS * 86400, seed=seed)


def _poisson(shares: NDArray[np.float64], seed: int) -> Arrivals:
    return poisson(shares, REQUESTS, DAYS * 86400, seed=seed)


_TRAFFIC: Final[dict[str, tuple[_Draw, NDArray[np.float64]]]] = {
    "sessions": (_sessions, gentd26()),
    "sessions, zipf 1.43": (_sessions, zipf(86, 1.43)),
    "poisson (pessimistic)": (_poisson, gentd26()),
}
RUNS: Final = len(_TRAFFIC) * len(SEEDS) * len(SLOTS) * len(REAL)


def certificate(done: Callable[[str], None] = lambda _: None, *, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """Misses in percent per traffic, policy and number of slots, and the differences to the real trace in points."""
    rows = []
    for label, (draw, shares) in _TRAFFIC.items():
        curves = _curves(label, draw, shares, seeds, done)
        for policy, curve in curves.items():
            rows.append(
                {
                    "traffic": label,
                    "policy": policy,
                    "miss_percent": curve,
                    "real": list(REAL[policy]),
                    "difference_points": [round(a - b, 1) for a, b in zip(curve, REAL[policy], strict=True)],
                }
            )
    return {
        "slots": list(SLOTS),
        "seeds": list(seeds),
        "rows": rows,
        "published_sessions_lru": list(SESSIONS_LRU),
        "published_poisson_lru": list(POISSON_LRU),
    }


def _curves(
    label: str, draw: _Draw, shares: NDArray[np.float64], seeds: tuple[int, ...], done: Callable[[str], None]
) -> dict[str, list[float]]:
    archives = equal(len(shares))
    missed: dict[str, list[list[float]]] = {policy: [[] for _ in SLOTS] for policy in REAL}
    for seed in seeds:
        arrivals = draw(shares, seed)
        trace = Trace(arrivals.times, arrivals.ranks, archives)
        future = next_uses(trace.asked)
        for policy in REAL:
            for column, slots in enumerate(SLOTS):
                outcome = replay(trace, archives, POLICIES[policy], slots, next_use=future, warm_up=WARM_UP)
                missed[policy][column].append(100 * outcome.miss_ratio)
                done(f"certificate: {label}, {policy}, {slots} slots")
    return {policy: [round(mean(values), 1) for values in columns] for policy, columns in missed.items()}
