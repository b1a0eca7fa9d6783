"""Which of two measured settings is better, for a goal. Pure.

A *curve* is what one setting reached at each concurrency. A *round* holds a setting's curve and the baseline's from
the same minutes: machines have slow minutes, and only ratios within a round compare across rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal, TypeAlias

Percentile: TypeAlias = Literal["p50_ms", "p99_ms"]
LATENCY_WEIGHT: Final = 4
"""Without a goal: 1 % of latency at the lowest concurrency counts like 4 % of throughput at the best one."""


@dataclass(frozen=True, slots=True)
class Point:
    """What came back from a closed loop of so many connections."""

    concurrency: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float


Curve: TypeAlias = tuple[Point, ...]
"""By concurrency, ascending; the concurrencies of one tuning are the same for all curves."""


@dataclass(frozen=True, slots=True)
class Round:
    """A setting's curve, and the baseline's beside it."""

    curve: Curve
    baseline: Curve


@dataclass(frozen=True, slots=True)
class Goal:
    """What a setting has to keep, for the most throughput. Without a limit: the least latency, then throughput."""

    most_ms: float | None = None
    percentile: Percentile = "p99_ms"

    def kept(self, curve: Curve) -> Curve:
        """The points of the curve that keep the limit: all, where there is none."""
        if self.most_ms is None:
            return curve
        return tuple(point for point in curve if self._latency(point) <= self.most_ms)

    def worth(self, rounds: Sequence[Round]) -> float:
        """How good a setting is, by all its rounds; larger is better, and what keeps the goal is always above 0.

        With a limit, the throughput of its best point that keeps it over the baseline's best throughput whatever its
        latency; where no point keeps the limit, minus the times by which the nearest one misses it. Without one, the
        ratio of throughputs over the ratio of latencies to the power of `LATENCY_WEIGHT`: the baseline's is 1.
        """
        if self.most_ms is None:
            return median(_gain(each) for each in rounds)
        middle = median_curve([each.curve for each in rounds])
        kept = self.kept(middle)
        if not kept:
            return -min(self._latency(point) for point in middle) / self.most_ms
        places = [middle.index(point) for point in kept]
        return max(median(each.curve[at].requests_per_s / best(each.baseline) for each in rounds) for at in places)

    def _latency(self, point: Point) -> float:
        return point.p50_ms if self.percentile == "p50_ms" else point.p99_ms

    def __str__(self) -> str:
        if self.most_ms is None:
            return "least latency at the lowest concurrency, then most throughput"
        return f"most throughput with {self.percentile.removesuffix('_ms')} up to {self.most_ms:g} ms"


def _gain(each: Round) -> float:
    throughput = best(each.curve) / best(each.baseline)
    latency = each.curve[0].p50_ms / each.baseline[0].p50_ms
    return throughput / latency**LATENCY_WEIGHT


def best(curve: Curve) -> float:
    """The curve's highest throughput."""
    return max(point.requests_per_s for point in curve)


def median_curve(curves: Sequence[Curve]) -> Curve:
    """The median of every figure at every concurrency."""
    return tuple(
        Point(
            concurrency=points[0].concurrency,
            requests_per_s=median(point.requests_per_s for point in points),
            p50_ms=median(point.p50_ms for point in points),
            p99_ms=median(point.p99_ms for point in points),
        )
        for points in zip(*curves, strict=True)
    )
