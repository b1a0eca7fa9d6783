"""What became of waiting: how many were turned away, and how good the predictions were."""

from collections.abc import Iterator
from dataclasses import dataclass

from server.residency.forecast import Wait
from server.residency.places import Places
from server.telemetry.metrics import Level


@dataclass(slots=True)
class WaitLog:
    """Running sums since the start. Seconds."""

    refused_full: int = 0
    refused_ahead: int = 0
    predictions: int = 0
    predicted_s: float = 0.0
    actual_s: float = 0.0
    error_s: float = 0.0

    def note(self, predicted: Wait, actual_s: float) -> None:
        """Compare a prediction with the wait that it was for. Of unknown archives nothing was predicted."""
        if predicted.is_known:
            self.predictions += 1
            self.predicted_s += predicted.learned_s
            self.actual_s += actual_s
            self.error_s += abs(predicted.learned_s - actual_s)

    def levels(self, places: Places) -> Iterator[Level]:
        """The same as metrics; what `Metrics.watch` takes."""
        yield Level("roundhouse_waiting", "Requests that wait for an archive", places.taken)
        yield Level("roundhouse_waiting_limit", "Requests that may wait for archives", places.most)
        for name, meaning, value in (
            ("refused_full", "Requests refused since too many waited, since the start", self.refused_full),
            ("refused_ahead", "Requests refused since the predicted wait was too long", self.refused_ahead),
            ("predictions", "Waits that were predicted and are over", self.predictions),
            ("predicted_seconds", "Sum of the predictions", self.predicted_s),
            ("actual_seconds", "Sum of the waits that were predicted", self.actual_s),
            ("error_seconds", "Sum of the differences between the two, without sign", self.error_s),
        ):
            yield Level(f"roundhouse_wait_{name}", meaning, value)
