"""From which tier archives were served, what the host tier holds, and how good guesses were, as metrics."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Figures = Mapping[str, Any]

_HOST_LEVELS: Final = (
    ("roundhouse_host_tier_bytes", "Bytes of files kept in host memory", "used_bytes"),
    ("roundhouse_host_tier_budget_bytes", "Bytes that they may take now", "budget_bytes"),
    ("roundhouse_host_tier_steps", "Steps whose files are kept in host memory", "steps"),
)
_HOST_COUNTS: Final = (
    ("roundhouse_host_tier_hits", "Loads of steps whose files were kept in host memory", "hits"),
    ("roundhouse_host_tier_misses", "Loads of steps whose files were not", "misses"),
    ("roundhouse_host_tier_evictions", "Steps that left host memory for others", "evictions"),
)
_GUESSES: Final = (
    ("roundhouse_prefetched", "Archives brought one tier up before they were asked for", "prefetched"),
    ("roundhouse_prefetch_used", "Those that were asked for in time", "used"),
    ("roundhouse_prefetch_wasted", "Those that were not", "wasted"),
    ("roundhouse_prefetch_wasted_bytes", "Bytes moved for those", "wasted_bytes"),
)


class Leases(Protocol):
    """Who counts leases (`ResidencyMetrics`)."""

    @property
    def leases(self) -> Mapping[str, int]:
        """How many were given, by warmth."""
        ...


class Keeps(Protocol):
    """The host tier."""

    def usage(self) -> Figures:
        """What it keeps, and what happened."""
        ...


class Guesses(Protocol):
    """The prefetcher."""

    def figures(self) -> Figures:
        """What was moved, and how often that was right."""
        ...


def tier_figures(leases: Leases, host: Keeps | None, guesses: Guesses | None) -> dict[str, object]:
    """What /admin/residency shows beside residency itself; `None` for what is off."""
    return {
        "served_from": dict(leases.leases),
        "host_tier": dict(host.usage()) if host is not None else None,
        "prefetch": dict(guesses.figures()) if guesses is not None else None,
    }


def tier_families(leases: Leases, host: Keeps | None, guesses: Guesses | None) -> Callable[[], Iterator[Metric]]:
    """Make what `Metrics.also` takes."""

    def families() -> Iterator[Metric]:
        served = CounterMetricFamily(
            "roundhouse_leases", "Leases by how far the archive's content had to come", labels=["warmth"]
        )
        for warmth, count in leases.leases.items():
            served.add_metric([warmth], count)
        yield served
        if host is not None:
            yield from _of_host(host.usage())
        if guesses is not None:
            yield from _of_guesses(guesses.figures()["reasons"])

    return families


def _of_host(figures: Figures) -> Iterator[Metric]:
    for name, text, key in _HOST_LEVELS:
        yield GaugeMetricFamily(name, text, value=figures[key])
    for name, text, key in _HOST_COUNTS:
        yield CounterMetricFamily(name, text, value=figures[key])


def _of_guesses(reasons: Mapping[str, Figures]) -> Iterator[Metric]:
    for name, text, key in _GUESSES:
        counted = CounterMetricFamily(name, text, labels=["reason"])
        for reason, figures in reasons.items():
            counted.add_metric([reason], figures[key])
        yield counted
