"""What residency tells, as metrics: a structural `residency.observer.ResidencyObserver`."""

from collections.abc import Iterator

from server.domain.cold_start import ColdStart, LoadTimes
from server.domain.model import Device, Step
from server.telemetry.metrics import Level, Metrics


class ResidencyMetrics:
    """Adds to the sums of `metrics` and shows the memory levels on its page.

    Hits and misses of each archive are counted per answered request, by the dispatcher; here they are counted together.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._sums = metrics.sums
        self._cold_starts = metrics.cold_starts
        self._resident = 0
        self._hits = 0
        self._misses = dict.fromkeys(("shared", "host", "disk", "store"), 0)
        self._charged: dict[Device, tuple[int, int]] = {}
        self._observed: dict[Device, tuple[int, int, bool]] = {}
        metrics.watch(self._levels)

    @property
    def leases(self) -> dict[str, int]:
        """How many leases were given, by warmth."""
        return {"resident": self._hits, **self._misses}

    def charged_bytes(self, device: Device) -> int:
        """What the device is charged with now."""
        return self._charged.get(device, (0, 0))[0]

    def hit(self, name: str) -> None:  # noqa: ARG002 - by archive it is counted elsewhere
        """The archive was resident."""
        self._hits += 1

    def miss(self, name: str, warmth: str) -> None:  # noqa: ARG002 - by archive it is counted elsewhere
        """It was not."""
        self._misses[warmth] = self._misses.get(warmth, 0) + 1

    def loaded(self, name: str, start: ColdStart) -> None:
        """An archive became resident."""
        self._resident += 1
        sums = self._sums.of(name)
        sums.load_s.add(start.load_s)
        if start.staging.total_s > 0:
            sums.download_s.add(start.staging.total_s)
        self._cold_starts.loaded(start)

    def step_loaded(self, step: Step, times: LoadTimes) -> None:
        """The engine loaded a step."""
        self._cold_starts.step_loaded(step, times)

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

    def observed(self, device: Device, expected_bytes: int, observed_bytes: int, is_leaking: bool) -> None:
        """A device's memory was measured."""
        self._observed[device] = (expected_bytes, observed_bytes, is_leaking)

    def _levels(self) -> Iterator[Level]:
        yield Level("LoadedModelCount", "Archives in memory", self._resident)
        for device, (charged, budget) in self._charged.items():
            yield Level("roundhouse_charged_bytes", "Bytes that resident steps are charged with", charged, device)
            yield Level("roundhouse_budget_bytes", "Bytes that resident steps may take", budget, device)
        for device, (expected, observed, is_leaking) in self._observed.items():
            yield Level("roundhouse_expected_bytes", "Bytes charged, when they were last compared", expected, device)
            yield Level("roundhouse_observed_bytes", "Bytes measured, when they were last compared", observed, device)
            yield Level("roundhouse_drift_bytes", "Bytes measured and not charged", observed - expected, device)
            yield Level("roundhouse_leak_alarm", "1 when the engine leaks memory", is_leaking, device)
