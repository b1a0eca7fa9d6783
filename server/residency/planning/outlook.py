"""The ledger as it would be: what steps free when they go and take when they come, each after all the others before it.

That differs from the sum of their charges where several map one weight file, which is there once.
"""

from collections.abc import Iterable, Mapping

from server.domain.model import Footprint, StepDigest
from server.residency.planning.ledger import Ledger, Room
from server.residency.planning.mapped import MappedFiles
from server.residency.planning.records import StepRecord


class Outlook:
    """Begins as the ledger is, or as `over` is, which both stay as they are."""

    def __init__(self, ledger: Ledger, over: "Outlook | None" = None) -> None:
        self._ledger = ledger
        self._mapped: MappedFiles = MappedFiles(ledger.mapped if over is None else over._mapped)

    def fork(self) -> "Outlook":
        """One that goes on from here by itself. This one must not change as long as the other is used."""
        return Outlook(self._ledger, self)

    def come(self, footprints: Mapping[StepDigest, Footprint]) -> Room:
        """Steps come, or stay after all. Returns what they take, on devices with a budget."""
        shared = sum(self._mapped.map(digest, each) for digest, each in footprints.items() if each.mapped)
        return self._ledger.budgeted(footprints.values(), besides=shared)

    def stay(self, steps: Iterable[StepRecord]) -> Room:
        """Charged steps that had gone stay after all. Returns what they take."""
        return self.come({each.step.digest: self._ledger.charge_of(each.step.digest) for each in steps})

    def go(self, steps: Iterable[StepRecord]) -> Room:
        """Charged steps go. Returns what they free, on devices with a budget."""
        footprints = {each.step.digest: self._ledger.charge_of(each.step.digest) for each in steps}
        kept = sum(self._mapped.unmap(digest, each) for digest, each in footprints.items() if each.mapped)
        return self._ledger.budgeted(footprints.values(), besides=kept)

    def forget(self, footprints: Mapping[StepDigest, Footprint]) -> None:
        """Steps that had come do not come after all."""
        for digest, each in footprints.items():
            self._mapped.unmap(digest, each)
