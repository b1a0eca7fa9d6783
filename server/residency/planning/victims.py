"""The choice of victims: the least valuable archives that together free enough, and not one more."""

from collections.abc import Collection, Iterable, Sequence

from server.domain.model import StepDigest
from server.residency.planning.inventory import Inventory
from server.residency.planning.ledger import Room, add, fits
from server.residency.planning.outlook import Outlook
from server.residency.planning.records import ArchiveRecord, StepRecord


class Choice:
    """A set of victims under construction, and what it frees on each device.

    A shared step is freed by the last of its holders only, a weight file by the last step that maps it, of those that
    are in the `outlook`. Steps in `kept` (those of the archive that room is made for, and of whoever waits before
    it) are never counted as freed.
    """

    def __init__(self, inventory: Inventory, need: Room, kept: Collection[StepDigest], outlook: Outlook) -> None:
        self._inventory = inventory
        self._need = need
        self._kept = kept
        self._outlook = outlook.fork()
        self._freed: Room = dict.fromkeys(need, 0)
        self._holders: dict[StepDigest, int] = {}

    @property
    def is_enough(self) -> bool:
        """Whether the victims free what is needed."""
        return fits(self._need, self._freed)

    @property
    def covered(self) -> Room:
        """How much of the need the victims free."""
        return {device: min(amount, self._freed.get(device, 0)) for device, amount in self._need.items()}

    def take(self, record: ArchiveRecord) -> None:
        """Add a victim."""
        add(self._freed, self._outlook.go(self._turned(record, -1)))

    def spare(self, record: ArchiveRecord) -> None:
        """Take a victim back."""
        add(self._freed, self._outlook.stay(self._turned(record, +1)), sign=-1)

    def _turned(self, record: ArchiveRecord, by: int) -> list[StepRecord]:
        """Count holders up or down; returns the steps that turn over between held and free."""
        turned: list[StepRecord] = []
        for step in record.steps:
            digest = step.step.digest
            before = self._holders.get(digest, step.holders)
            self._holders[digest] = before + by
            if min(before, before + by) == 0 and digest not in self._kept:
                turned.append(step)
        return turned


def choose(
    inventory: Inventory,
    need: Room,
    candidates: Iterable[ArchiveRecord],
    kept: Collection[StepDigest] = (),
    outlook: Outlook | None = None,
    *,
    is_partial: bool = False,
) -> Sequence[ArchiveRecord]:
    """Pick victims from `candidates` (least valuable first) that free `need`.

    `outlook` is how it will be when all that was decided before has happened; it stays as it is.

    Returns:
        The victims, least valuable first. Where all candidates together are not enough: none, or with `is_partial`
        those that bring the need closer.
    """
    choice = Choice(inventory, need, kept, outlook or inventory.outlook())
    taken: list[ArchiveRecord] = []
    for record in candidates:
        if choice.is_enough:
            break
        choice.take(record)
        taken.append(record)
    if not (choice.is_enough or is_partial):
        return ()
    spared: set[str] = set()
    for record in reversed(taken):  # a later, larger victim may have made an earlier one superfluous
        covered = choice.covered
        choice.spare(record)
        if choice.covered == covered:
            spared.add(record.archive.key)
        else:
            choice.take(record)
    return [record for record in taken if record.archive.key not in spared]
