"""Does it grow? A slope that a few outliers cannot bend."""

import numpy as np
from numpy.typing import NDArray

_MOST = 1500


def slope(times: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """The Theil-Sen slope: the median over all pairs of samples. 0 for fewer than two samples."""
    if len(times) > _MOST:  # a million pairs are enough
        chosen = np.linspace(0, len(times) - 1, _MOST).astype(np.int64)
        times, values = times[chosen], values[chosen]
    first, second = np.triu_indices(len(times), 1)
    apart = times[second] - times[first]
    used = apart > 0
    if not np.any(used):
        return 0.0
    return float(np.median((values[second] - values[first])[used] / apart[used]))


def growth(times: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """How much the values grew over the span of `times`, by their slope."""
    return slope(times, values) * float(times[-1] - times[0]) if len(times) > 1 else 0.0
