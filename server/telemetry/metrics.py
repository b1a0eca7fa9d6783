"""The Prometheus page, under the names that SageMaker gives to the metrics of a multi-model endpoint.

A CloudWatch metric is a set of observations with a sum and a count; a Prometheus summary is the same, so that for
example `ModelCacheHit_sum / ModelCacheHit_count` is the hit ratio that SageMaker shows as the average. Times are
microseconds, as there. The registry is our own: nothing is registered by an import.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from server.telemetry.cold_start_metrics import ColdStartMetrics
from server.telemetry.series import ArchiveSums, Sum, SumsByArchive

MICROSECONDS: Final = 1e6

_SUMMARIES: Final[tuple[tuple[str, str, float, Callable[[ArchiveSums], Sum]], ...]] = (
    ("ModelCacheHit", "Answered requests: 1 where the archive was resident, else 0", 1, lambda sums: sums.cache_hit),
    ("ModelLatency", "Microseconds that the engine took per request", MICROSECONDS, lambda sums: sums.infer_s),
    (
        "OverheadLatency",
        "Microseconds per request spent in everything but the engine and waiting for a load",
        MICROSECONDS,
        lambda sums: sums.overhead_s,
    ),
    (
        "ModelLoadingWaitTime",
        "Microseconds that a request waited for its archive to become resident",
        MICROSECONDS,
        lambda sums: sums.wait_s,
    ),
    (
        "ModelLoadingTime",
        "Microseconds that the engine took per load",
        MICROSECONDS,
        lambda sums: sums.load_s,
    ),
    (
        "ModelUnloadingTime",
        "Microseconds that the engine took to unload a step, counted to the archive that let it go last",
        MICROSECONDS,
        lambda sums: sums.unload_s,
    ),
    (
        "ModelDownloadingTime",
        "Microseconds that fetching and unpacking an archive took",
        MICROSECONDS,
        lambda sums: sums.download_s,
    ),
)


@dataclass(frozen=True, slots=True)
class Level:
    """A gauge's value now, for one device or none."""

    name: str
    help: str
    value: float
    device: str = ""


class Metrics(Collector):
    """Counts requests (as `serving.ports.InvocationLog`) and renders the page."""

    def __init__(self, max_archives: int = 1000) -> None:
        self._sums = SumsByArchive(max_archives)
        self._levels: list[Callable[[], Iterable[Level]]] = []
        self._families: list[Callable[[], Iterable[Metric]]] = []
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.cold_starts = ColdStartMetrics()
        """Times and bytes of cold starts, for observers of other parts."""
        self._registry.register(self.cold_starts)
        ProcessCollector(registry=self._registry)

    @property
    def sums(self) -> SumsByArchive:
        """The sums behind the page, for observers of other parts."""
        return self._sums

    def watch(self, levels: Callable[[], Iterable[Level]]) -> None:
        """Ask `levels` for gauges at every scrape."""
        self._levels.append(levels)

    def also(self, families: Callable[[], Iterable[Metric]]) -> None:
        """Ask `families` for metrics of their own kind at every scrape."""
        self._families.append(families)

    def served(self, name: str, is_hit: bool, waited_s: float, infer_s: float, total_s: float) -> None:
        """Count an answered request. Seconds."""
        sums = self._sums.of(name)
        sums.cache_hit.add(is_hit)
        sums.infer_s.add(infer_s)
        sums.overhead_s.add(total_s - infer_s - waited_s)
        if not is_hit:
            sums.wait_s.add(waited_s)
            self.cold_starts.answered(infer_s, total_s)

    def failed(self, name: str, error: Exception, total_s: float) -> None:  # noqa: ARG002 - the access log's
        """Count a request that met an error; the name may be one that no archive has."""
        self._sums.of_any(name).errors += 1

    def left(self, name: str, total_s: float) -> None:
        """Count nothing: neither an answer nor an error."""

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """Render everything as text for Prometheus; returns the body and its Content-Type."""
        encode, content_type = exposition.choose_encoder(accept)
        return encode(self._registry), content_type

    def statistics(self, name: str) -> Mapping[str, float]:
        """Say how often and for how long one archive was asked (seconds), for KServe's statistics extension."""
        sums = self._sums.of_any(name)
        return {
            "count": sums.infer_s.count,
            "infer_s": sums.infer_s.total,
            "overhead_s": sums.overhead_s.total,
            "errors": sums.errors,
        }

    def describe(self) -> Iterable[Metric]:
        """Name no metric in advance, so that registering asks for no values."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Turn the sums and levels into metric families."""
        yield from self._requests()
        for name, text, unit, pick in _SUMMARIES:
            yield _summary(self._sums, name, text, unit, pick)
        yield from self._gauges()
        for families in self._families:
            yield from families()

    def _requests(self) -> Iterator[Metric]:
        answered = CounterMetricFamily("ModelInvocations", "Requests, answered or not", labels=["archive"])
        errors = CounterMetricFamily("ModelErrors", "Requests that met an error", labels=["archive"])
        load_errors = CounterMetricFamily("ModelLoadingErrors", "Failed loads", labels=["archive"])
        evictions = CounterMetricFamily("ModelEvictions", "Departures from memory", labels=["archive"])
        for name, sums in self._sums:
            answered.add_metric([name], sums.cache_hit.count + sums.errors)
            errors.add_metric([name], sums.errors)
            load_errors.add_metric([name], sums.load_errors)
            evictions.add_metric([name], sums.evictions)
        yield from (answered, errors, load_errors, evictions)

    def _gauges(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for level in (level for levels in self._levels for level in levels()):
            labels = ["device"] if level.device else []
            family = families.setdefault(level.name, GaugeMetricFamily(level.name, level.help, labels=labels))
            family.add_metric([level.device] if level.device else [], level.value)
        yield from families.values()


def _summary(
    all_sums: SumsByArchive, name: str, text: str, unit: float, pick: Callable[[ArchiveSums], Sum]
) -> SummaryMetricFamily:
    family = SummaryMetricFamily(name, text, labels=["archive"])
    for archive, sums in all_sums:
        observed = pick(sums)
        if observed.count:
            family.add_metric([archive], count_value=observed.count, sum_value=observed.total * unit)
    return family
