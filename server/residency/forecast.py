"""How long a caller should wait before asking again."""

from collections.abc import Callable
from typing import Final

from server.domain.model import StagedArchive, Step, StepDigest
from server.residency.footprint import Footprints
from server.residency.house import House
from server.residency.states import StepState

SHORTEST_S: Final = 1.0


class Forecast:
    """Predicts the rest of a load from what was measured before. `elapsed_s` tells how long a step has been loading."""

    def __init__(self, house: House, footprints: Footprints, elapsed_s: Callable[[StepDigest], float]) -> None:
        self._house = house
        self._footprints = footprints
        self._elapsed_s = elapsed_s

    def retry_after_s(self, archive: StagedArchive | None) -> float:
        """Seconds until the archive may be resident, at least 1. `None`: it is still being staged."""
        if archive is None:
            return SHORTEST_S
        return max(SHORTEST_S, sum(self._rest_s(step) for step in archive.steps))

    def _rest_s(self, step: Step) -> float:
        record = self._house.inventory.steps.get(step.digest)
        if record is not None and record.state is StepState.RESIDENT:
            return 0.0
        return max(0.0, self._footprints.predict_load_s(step) - self._elapsed_s(step.digest))
