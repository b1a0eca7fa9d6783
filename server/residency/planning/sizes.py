"""What steps and archives take, or would take: as charged where a step is present, as predicted where it is not.

Only questions; what is present is the inventory's.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias

from server.domain.model import Footprint, StagedArchive, Step, StepDigest
from server.residency.planning.ledger import Ledger, Room
from server.residency.planning.outlook import Outlook
from server.residency.planning.records import StepRecord

Predict: TypeAlias = Callable[[Step], Footprint]
"""What a step will take on each device. Pure, and quick."""


class Sizes:
    """Bytes on each device with a budget, by the inventory's `ledger` and its present `steps`."""

    def __init__(self, ledger: Ledger, predict: Predict, steps: Mapping[StepDigest, StepRecord]) -> None:
        self._ledger = ledger
        self._steps = steps
        self.predict = predict

    def footprint(self, step: Step) -> Footprint:
        """What the step is charged with, or will be."""
        return self._ledger.charge_of(step.digest) if step.digest in self._steps else self.predict(step)

    def need(
        self,
        archive: StagedArchive,
        besides: Collection[StepDigest] = (),
        but: Collection[StepDigest] = (),
        outlook: Outlook | None = None,
    ) -> Room:
        """Bytes that the archive's absent steps will be charged with; those in `besides` too, those in `but` not.

        In the `outlook`, where one is given, the archive has come then.
        """
        return (outlook or Outlook(self._ledger)).come(
            {
                step.digest: self.footprint(step)
                for step in distinct(archive)
                if (step.digest not in self._steps or step.digest in besides) and step.digest not in but
            }
        )

    def withdraw(self, archive: StagedArchive, outlook: Outlook) -> None:
        """The archive, for which there was a `need` in the outlook, does not come after all."""
        outlook.forget({each.digest: self.predict(each) for each in archive.steps if each.digest not in self._steps})

    def total(self, archive: StagedArchive) -> Room:
        """Bytes that the whole archive takes. The extra charge of a second try after an out of memory is left out."""
        return Outlook(Ledger(self._ledger.budgets)).come(
            {
                step.digest: self.predict(step) if self._is_second_try(step) else self.footprint(step)
                for step in distinct(archive)
            }
        )

    def largest_share(self, step: Step) -> int:
        """Bytes that the step takes on the device with a budget where it takes most."""
        return max(self._ledger.budgeted([self.footprint(step)]).values(), default=0)

    def charge_of(self, steps: Iterable[StepRecord]) -> Room:
        """Bytes that present steps are charged with, each for itself: weight files that they share count for each."""
        return self._ledger.budgeted(self._ledger.charge_of(each.step.digest) for each in steps)

    def _is_second_try(self, step: Step) -> bool:
        record = self._steps.get(step.digest)
        return record is not None and record.out_of_memory > 0


def distinct(archive: StagedArchive) -> Iterable[Step]:
    """The archive's steps, callees first, without repetitions of equal content."""
    return {step.digest: step for step in archive.steps}.values()
