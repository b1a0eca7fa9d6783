"""The shape of a day: how much of the traffic starts in which hour."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

HOUR_S: Final = 3600.0
_PEAK_AT: Final = 14


def day(peak_to_mean: float = 9.0, awake: int = 16) -> NDArray[np.float64]:
    """Weights of the 24 hours, with mean 1.

    The peak is `peak_to_mean`, the hours around it fall away by one factor per hour, and those outside the `awake`
    ones are empty. GenTD26 has a peak of 9.0 times the mean and a third of its hours empty.
    """
    if not 24 / awake <= peak_to_mean <= 24:
        raise ValueError(f"with {awake} hours awake the peak is 24/{awake} to 24 times the mean, not {peak_to_mean}")
    distances = np.abs(np.arange(24) - _PEAK_AT)
    distances = np.minimum(distances, 24 - distances)
    order = np.argsort(distances, kind="stable")[:awake]
    low, high = 0.0, 1.0
    for _ in range(60):  # bisection: the total grows with the factor
        factor = (low + high) / 2
        total = peak_to_mean * float(np.sum(factor ** distances[order]))
        low, high = (factor, high) if total < 24 else (low, factor)
    weights = np.zeros(24)
    weights[order] = peak_to_mean * low ** distances[order]
    return weights


def starts(rng: np.random.Generator, count: int, seconds: float, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`count` moments within `seconds`, in no order, as many in each hour as its weight says. Hour 0 is midnight."""
    hours = int(np.ceil(seconds / HOUR_S))
    widths = np.minimum(HOUR_S, seconds - np.arange(hours) * HOUR_S)
    chances = weights[np.arange(hours) % len(weights)] * widths
    if chances.sum() == 0:
        raise ValueError(f"none of the first {hours} hours has traffic: ask for at least a day")
    hour = rng.choice(hours, size=count, p=chances / chances.sum())
    moments: NDArray[np.float64] = hour * HOUR_S + rng.random(count) * widths[hour]
    return moments
