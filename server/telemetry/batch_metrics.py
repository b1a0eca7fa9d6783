"""Batches as metrics: how many rows ran together, and how long their requests waited for it."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.core import HistogramMetricFamily, Metric

from server.telemetry.metrics import Metrics

_ROWS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Histogram:
    """Counts by bucket. `bounds` are the buckets' upper ends, inclusive."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def family(self, name: str, text: str) -> Metric:
        ends = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        buckets = list(zip(ends, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._total)


class BatchMetrics:
    """A structural `serving.batch_line.BatchLog`. Only archives whose requests may be merged are counted."""

    def __init__(self, metrics: Metrics) -> None:
        self._rows = _Histogram(_ROWS)
        self._waited = _Histogram(_SECONDS)
        metrics.also(self._families)

    def ran(self, rows: int, waited_s: Sequence[float]) -> None:
        """Count an execution of `rows` rows, for requests that waited so long in line. Seconds."""
        self._rows.add(rows)
        for waited in waited_s:
            self._waited.add(waited)

    def _families(self) -> Iterator[Metric]:
        yield self._rows.family("roundhouse_batch_rows", "Rows that ran in one execution of an entry model")
        yield self._waited.family("roundhouse_batch_queue_seconds", "Seconds that a request waited for its batch")
