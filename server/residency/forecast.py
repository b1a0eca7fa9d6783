"""How long a caller will wait for an archive, from what was measured before.

The wait is the time for the loads that come before (as many side by side as may load at once), for the archive's own,
and for leases to come back where room has to be made. What was never measured is guessed for telling a caller when to
come back, and counts nothing for turning one away: an unknown archive gets the benefit of the doubt.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from math import inf
from typing import Final

from server.domain.model import StagedArchive, Step, StepDigest
from server.residency.memory.footprint import Footprints
from server.residency.planning.house import House
from server.residency.planning.ledger import add, fits
from server.residency.planning.states import ArchiveState, StepState

SHORTEST_S: Final = 1.0
MANY: Final = 64
"""Archives in the queue from which on its loads are summed up once in `KEPT_S` seconds, not for each prediction."""
KEPT_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Wait:
    """A prediction in seconds. `learned_s` leaves out what was never measured."""

    learned_s: float
    guessed_s: float
    is_known: bool
    """Whether every step of the archive was loaded before, so that `learned_s` says something about it."""

    def is_hopeless(self, left_s: float, margin: float) -> bool:
        """Whether it is of no use to wait for `left_s` seconds. Predictions count from `margin` times that on."""
        return self.is_known and 0.0 < margin * left_s < self.learned_s


@dataclass(slots=True)
class QueueLoads:
    """A long queue, summed up at a time (monotonic s)."""

    at: float = -inf
    total_s: float = 0.0
    before_key: dict[str, float] = field(default_factory=dict)
    loads: dict[StepDigest, tuple[float, float]] = field(default_factory=dict)
    """Of each step: the seconds of all loads before its own, and its own."""

    def add(self, digest: StepDigest, seconds: float) -> None:
        """One more load; a step is loaded once."""
        if digest not in self.loads:
            self.loads[digest] = self.total_s, seconds
            self.total_s += seconds

    def before(self, key: str, own: Collection[StepDigest]) -> float:
        """Seconds of all loads before this archive's, but for its own steps."""
        before_s = self.before_key.get(key, self.total_s)
        shared = [self.loads[digest] for digest in own if digest in self.loads]
        return before_s - sum(seconds for since, seconds in shared if since < before_s)


class Forecast:
    """Predicts waits. `elapsed_s` tells how long a step has been loading."""

    def __init__(self, house: House, footprints: Footprints, elapsed_s: Callable[[StepDigest], float]) -> None:
        self._house = house
        self._footprints = footprints
        self._elapsed_s = elapsed_s
        self._queue = QueueLoads()

    def retry_after_s(self, archive: StagedArchive | None) -> float:
        """Seconds until the archive may be resident, at least 1. `None`: it is still being staged."""
        return SHORTEST_S if archive is None else max(SHORTEST_S, self.wait(archive).guessed_s)

    def wait(self, archive: StagedArchive) -> Wait:
        """Seconds until the archive will be resident."""
        inventory, parallel = self._house.inventory, self._house.options.max_parallel_loads
        own = {step.digest: step for step in archive.steps}
        missing = [step for digest, step in own.items() if not self._is_resident(digest)]
        learned = [self._rest_s(step, self._footprints.learned_load_s(step) or 0.0) for step in missing]
        guessed = [self._rest_s(step, self._footprints.predict_load_s(step)) for step in missing]
        known = [self._footprints.learned_load_s(step) is not None for step in missing]
        before_s = self._before_s(archive, own) / parallel
        drain_s = 0.0 if archive.key in inventory.archives else self._drain_s(archive)
        return Wait(
            learned_s=max(before_s, drain_s) + _side_by_side(learned, parallel),
            guessed_s=max(before_s, drain_s) + _side_by_side(guessed, parallel),
            is_known=all(known),
        )

    def _before_s(self, archive: StagedArchive, own: Collection[StepDigest]) -> float:
        house = self._house
        is_long = archive.key not in house.inventory.archives and len(house.waiting.queue) >= MANY
        if not is_long:
            return sum(self._loads_before(archive, own))
        if not self._queue.at <= house.at < self._queue.at + KEPT_S:
            self._sum_up()
        return self._queue.before(archive.key, own)

    def _sum_up(self) -> None:
        """The learned seconds of all that loads or waits, and of what is before each archive in the queue."""
        self._queue = queue = QueueLoads(at=self._house.at)
        moving = [*self._house.inventory.in_flight()]
        moving += [step for step in self._house.inventory.planned.values() if self._house.is_awaited(step)]
        for step in moving:
            queue.add(step.step.digest, self._rest_s(step.step, self._footprints.learned_load_s(step.step) or 0.0))
        for each in self._house.waiting.in_turn():
            queue.before_key[each.key] = queue.total_s
            for own in each.steps if self._house.waiting.is_urgent(each.key) else ():
                if not self._is_resident(own.digest):
                    queue.add(own.digest, self._footprints.learned_load_s(own) or 0.0)

    def _loads_before(self, archive: StagedArchive, own: Collection[StepDigest]) -> Iterable[float]:
        """Learned seconds of every load that is under way or begins before the archive's."""
        inventory, waiting = self._house.inventory, self._house.waiting
        seen = set(own)
        ahead = [step.step for step in inventory.in_flight()]
        planned = takewhile(lambda step: step.step.digest not in own, inventory.planned.values())
        ahead += [step.step for step in planned if self._house.is_awaited(step)]
        if archive.key not in inventory.archives:
            for each in waiting.in_turn():
                if each.key == archive.key:
                    break
                ahead += each.steps if waiting.is_urgent(each.key) else ()
        for step in ahead:
            if step.digest not in seen and not self._is_resident(step.digest):
                seen.add(step.digest)
                yield self._rest_s(step, self._footprints.learned_load_s(step) or 0.0)

    def _drain_s(self, archive: StagedArchive) -> float:
        """Seconds until enough leases are back, by how long those of each archive lasted. 0 where none need be."""
        inventory, house = self._house.inventory, self._house
        room = inventory.ledger.free()
        add(room, inventory.sizes.charge_of(inventory.loose.values()))
        need = inventory.sizes.need(archive)
        if fits(need, room):
            return 0.0
        busy: list[tuple[float, int]] = []
        residents = inventory.in_state(ArchiveState.RESIDENT)
        for index, record in enumerate(residents):
            if house.is_pinned(record):
                continue
            if record.leases:
                busy.append((record.run_s, index))
                continue
            add(room, inventory.sizes.charge_of(record.steps))
            if fits(need, room):
                return 0.0
        for run_s, index in sorted(busy):
            add(room, inventory.sizes.charge_of(residents[index].steps))
            if fits(need, room):
                return run_s
        return 0.0

    def _is_resident(self, digest: StepDigest) -> bool:
        record = self._house.inventory.steps.get(digest)
        return record is not None and record.state is StepState.RESIDENT

    def _rest_s(self, step: Step, load_s: float) -> float:
        return max(0.0, load_s - self._elapsed_s(step.digest))


def _side_by_side(loads: list[float], parallel: int) -> float:
    """Seconds for loads of which so many run at once: at least the longest."""
    return max(max(loads, default=0.0), sum(loads) / parallel)
