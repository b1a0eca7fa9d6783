"""What residency tells, as metrics: a structural `residency.observer.ResidencyObserver`."""

from collections.abc import Iterator

from server.domain.model import Device
from server.telemetry.metrics import Level, Metrics


class ResidencyMetrics:
    """Adds to the sums of `metrics` and shows the memory levels on its page.

    Hits and misses are counted per answered request, by the dispatcher, and not here.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._sums = metrics.sums
        self._resident = 0
        self._charged: dict[Device, tuple[int, int]] = {}
        metrics.watch(self._levels)

    def hit(self, name: str) -> None:
        """Counted elsewhere."""

    def miss(self, name: str, warmth: str) -> None:
        """Counted elsewhere."""

    def loaded(self, name: str, load_s: float, staging_s: float) -> None:
        """An archive became resident."""
        self._resident += 1
        sums = self._sums.of(name)
        sums.load_s.add(load_s)
        if staging_s > 0:
            sums.download_s.add(staging_s)

    def evicted(self, name: str, reason: str) -> None:  # noqa: ARG002 - reasons are for people: /admin/residency
        """An archive left memory."""
        self._resident -= 1
        self._sums.of(name).evictions += 1

    def unloaded(self, name: str, unload_s: float) -> None:
        """A step left memory."""
        self._sums.of(name).unload_s.add(unload_s)

    def failed(self, name: str, reason: str) -> None:  # noqa: ARG002 - the answer and the log carry it
        """An archive could not be staged or loaded."""
        self._sums.of_any(name).load_errors += 1

    def charged(self, device: Device, charged_bytes: int, budget_bytes: int) -> None:
        """A device's charge changed."""
        self._charged[device] = (charged_bytes, budget_bytes)

    def _levels(self) -> Iterator[Level]:
        yield Level("LoadedModelCount", "Archives in memory", self._resident)
        for device, (charged, budget) in self._charged.items():
            yield Level("roundhouse_charged_bytes", "Bytes that resident steps are charged with", charged, device)
            yield Level("roundhouse_budget_bytes", "Bytes that resident steps may take", budget, device)
