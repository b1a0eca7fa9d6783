"""What workers did, on the home process's own pages: one truth in `/metrics`, one access log."""

from typing import Protocol

from server.telemetry.access_log import AccessLog
from server.telemetry.metrics import Metrics
from server.workers.words import Uses


class BatchLog(Protocol):
    """Who counts batches (`telemetry.batch_metrics`)."""

    def ran(self, rows: int, waited_s: list[float]) -> None:
        """Count one."""
        ...


class UsesLog:
    """Adds what workers report to the sums of this process. Requests that were passed on are counted here anyway."""

    def __init__(self, metrics: Metrics, batches: BatchLog | None, access_log: AccessLog | None) -> None:
        self._metrics = metrics
        self._batches = batches
        self._access_log = access_log

    def used(self, name: str, uses: Uses) -> None:
        """Count uses of one archive, which all were hits."""
        sums = self._metrics.sums.of(name)
        for each, total in (
            (sums.cache_hit, float(uses.count)),
            (sums.infer_s, uses.infer_s),
            (sums.overhead_s, uses.overhead_s),
        ):
            each.count += uses.count
            each.total += total
        sums.errors += uses.errors
        if self._access_log is not None:
            for at in uses.arrivals:
                self._access_log.asked(name, at)

    def ran(self, rows: int, waited_s: list[float]) -> None:
        """Count a batch."""
        if self._batches is not None:
            self._batches.ran(rows, waited_s)
