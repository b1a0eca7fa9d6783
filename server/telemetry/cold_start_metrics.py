"""Where the time and the bytes of cold starts go, phase by phase; one event loop writes and reads it, without locks.

`roundhouse_cold_start_seconds` counts the phases `fetch` to `place` once for each staging that moved something, `load`
and `warm_up` once for each archive that became resident, `first_inference` and `total` once for each request that
waited for it. No label names an archive: `/admin/residency` and the answers' headers do.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from server.domain.cold_start import ColdStart, LoadTimes, Staging
from server.domain.model import Step
from server.telemetry.series import Sum

PHASES: Final = ("fetch", "unpack", "digest", "place", "load", "warm_up", "first_inference", "total")
MOVES: Final = ("fetch", "unpack", "load")
BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """Seconds, counted in buckets."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one more observation."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Each upper bound with how many observations lie at or below it."""
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        return [(bound, sum(self.counts[: index + 1])) for index, bound in enumerate(bounds)]


class ColdStartMetrics(Collector):
    """Sums of phases and bytes."""

    def __init__(self) -> None:
        self._phases = {phase: Histogram() for phase in PHASES}
        self._moved = dict.fromkeys(MOVES, 0)
        self._steps: dict[str, Sum] = {}

    def staged(self, staging: Staging) -> None:
        """An archive was brought to disk."""
        self._phases["fetch"].add(staging.fetch_s)
        self._phases["unpack"].add(staging.unpack_s)
        self._phases["digest"].add(staging.digest_s)
        self._phases["place"].add(staging.place_s)
        self._moved["fetch"] += staging.fetched_bytes
        self._moved["unpack"] += staging.unpacked_bytes

    def step_loaded(self, step: Step, times: LoadTimes) -> None:
        """The engine loaded a step."""
        self._moved["load"] += step.file_bytes
        self._steps.setdefault(step.backend, Sum()).add(times.load_s)

    def loaded(self, start: ColdStart) -> None:
        """An archive became resident."""
        self._phases["load"].add(start.load_s)
        self._phases["warm_up"].add(start.warm_up_s)

    def answered(self, infer_s: float, total_s: float) -> None:
        """A request that had waited for its archive was answered."""
        self._phases["first_inference"].add(infer_s)
        self._phases["total"].add(total_s)

    def describe(self) -> list[Metric]:
        """Name no metric in advance, so that registering asks for no values."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metric families."""
        text = "Seconds of cold starts, by phase"
        seconds = HistogramMetricFamily("roundhouse_cold_start_seconds", text, labels=["phase"])
        for phase, histogram in self._phases.items():
            seconds.add_metric([phase], histogram.buckets(), histogram.total_s)
        yield seconds
        text = "Bytes fetched from the store, written by unpacking, and of files that the engine loaded, by phase"
        moved = CounterMetricFamily("roundhouse_moved_bytes", text, labels=["phase"])
        for phase, size in self._moved.items():
            moved.add_metric([phase], size)
        yield moved
        loads = CounterMetricFamily("roundhouse_step_loads", "Steps that the engine loaded", labels=["backend"])
        text = "Engine seconds of these loads, added up"
        took = CounterMetricFamily("roundhouse_step_load_seconds", text, labels=["backend"])
        for backend, summed in sorted(self._steps.items()):
            loads.add_metric([backend], summed.count)
            took.add_metric([backend], summed.total)
        yield from (loads, took)
