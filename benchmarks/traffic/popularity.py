"""Which archives are asked for more than others: shares that sum to one, the most popular first."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_GENTD26: Final = (
    (1, 0.307),
    (5, 0.705),
    (8, 0.80),
    (10, 0.867),
    (13, 0.90),
    (20, 0.94),
    (24, 0.95),
    (50, 0.99),
    (86, 1.0),
)
"""How many of the 86 base models of GenTD26 take which share of its requests, as published."""


def zipf(count: int, alpha: float) -> NDArray[np.float64]:
    """Shares that fall with the rank to the power of -`alpha`: 0.9 is web-like, 1.43 was fitted to GenTD26."""
    shares: NDArray[np.float64] = np.arange(1, count + 1, dtype=np.float64) ** -alpha
    shares /= shares.sum()
    return shares


def gentd26() -> NDArray[np.float64]:
    """The shares of GenTD26's 86 base models, log-linear between its published points.

    A Zipf law of 1.43 gives its first model 39 % where the trace has 31 %; a curve can only be compared with the
    published one under the published popularity.
    """
    ranks, cumulative = np.array(_GENTD26).T
    every = np.interp(np.log(np.arange(1, 87)), np.log(ranks), cumulative)
    shares: NDArray[np.float64] = np.sort(np.diff(every, prepend=0.0))[::-1]
    return shares
