"""When which archive is asked for: sessions, as real users come, and independent requests, as they do not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.traffic.hours import day, starts


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests in order of time. `ranks[i]` is the popularity rank of what was asked for, 0 being the most popular."""

    times: NDArray[np.float64]
    ranks: NDArray[np.int64]
    sessions: int


def sessions(
    shares: NDArray[np.float64],
    requests: int,
    seconds: float,
    *,
    seed: int,
    mean: float = 2.0,
    gap_s: float = 60.0,
    hours: NDArray[np.float64] | None = None,
) -> Arrivals:
    """Sessions that ask for one archive `mean` times (geometric), `gap_s` apart (exponential).

    They start as the day's profile `hours` says (default: `day()`). The last one is cut where there are `requests`; the
    last requests may come a few gaps after `seconds`.
    """
    if mean < 1:
        raise ValueError(f"a session has at least one request, so their mean cannot be {mean}")
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.geometric(1 / mean, size=requests))
    count = int(np.searchsorted(ends, requests)) + 1
    ends = np.minimum(ends[:count], requests)
    lengths = np.diff(ends, prepend=0)
    begin = starts(rng, count, seconds, day() if hours is None else hours)
    ranks = rng.choice(len(shares), size=count, p=shares)
    waits = np.cumsum(rng.exponential(gap_s, size=requests))
    first = np.repeat(waits[ends - lengths], lengths)
    times = np.repeat(begin, lengths) + waits - first
    order = np.argsort(times, kind="stable")
    return Arrivals(times[order], np.repeat(ranks, lengths)[order], count)


def poisson(shares: NDArray[np.float64], requests: int, seconds: float, *, seed: int) -> Arrivals:
    """Independent requests at a constant rate. Pessimistic: real traffic misses 1.6 to 2.4 times less."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.random(requests) * seconds)
    return Arrivals(times, rng.choice(len(shares), size=requests, p=shares), requests)
