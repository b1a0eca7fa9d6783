"""What a trace is like: the figures by which it can be compared with published ones."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.traffic.hours import HOUR_S
from benchmarks.traffic.trace import Trace


def describe(trace: Trace) -> dict[str, float | int]:
    """Statistics of a trace, ready for JSON."""
    counts = np.sort(np.bincount(trace.asked, minlength=len(trace.archives)))[::-1]
    hours = (trace.times // HOUR_S).astype(np.int64)  # by the clock, so that an hour of the profile is not cut in two
    hourly = np.bincount(hours - hours[0])
    shares = counts / counts.sum()
    return {
        "requests": len(trace),
        "archives": len(trace.archives),
        "archives_asked_for": int(np.count_nonzero(counts)),
        "days": round(float(trace.times[-1] - trace.times[0]) / 86400, 2),
        "zipf_alpha": round(zipf_slope(counts), 3),
        "top_10_share": round(float(shares[:10].sum()), 4),
        "hourly_peak_to_mean": round(float(hourly.max() / hourly.mean()), 2),
        "empty_hours_share": round(float(np.mean(hourly == 0)), 3),
        "next_is_same": round(float(np.mean(trace.asked[1:] == trace.asked[:-1])), 4) if len(trace) > 1 else 0.0,
        "next_is_same_if_independent": round(float(np.sum(shares**2)), 4),
        "gigabytes_unshared": round(sum(archive.bytes for archive in trace.archives) / 1e9, 1),
        "gigabytes_shared": round(
            sum({part.digest: part.bytes for archive in trace.archives for part in archive.parts}.values()) / 1e9, 1
        ),
    }


def zipf_slope(counts: NDArray[np.int64]) -> float:
    """The exponent under which these counts by rank, the largest first, are most likely; 0 to 4."""
    ranks = np.log(np.arange(1, len(counts) + 1))
    weighed = float(np.sum(counts * ranks) / counts.sum())
    low, high = 0.0, 4.0
    for _ in range(50):  # the expected log rank falls as the exponent grows
        alpha = (low + high) / 2
        chances = np.exp(-alpha * ranks)
        low, high = (alpha, high) if float(np.sum(chances * ranks) / chances.sum()) > weighed else (low, alpha)
    return low
