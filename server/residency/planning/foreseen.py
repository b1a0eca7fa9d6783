"""Loading what nobody has asked for yet, as a rule of the planner: only into room that nobody else needs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from server.domain.model import StagedArchive
from server.residency.planning import events as e
from server.residency.planning.house import House
from server.residency.planning.ledger import fits
from server.residency.planning.states import ArchiveState

MARGIN: Final = 1.1
"""A measurement may exceed its prediction; whoever had to leave for that would leave for a guess."""


def foreseen(house: House, event: e.Foreseen) -> None:
    """Load the archive if it fits beside everything that is there; else nothing happens.

    Until somebody asks for it, it counts as never used, and is the first to leave.
    """
    if has_spare_room(house, event.archive):
        house.asked.discard(event.archive.name)
        house.waiting.order(event.archive, event.at)  # settled at once, or void with the next event


def has_spare_room(house: House, archive: StagedArchive) -> bool:
    """Whether it fits, nobody waits, nothing is on its way, and its group has no quota that others of it may need."""
    inventory, budgets = house.inventory, house.inventory.ledger.budgets
    is_closed = house.is_closed or house.renewal is not None
    is_busy = house.waiting.queue or inventory.is_moving or inventory.is_any(ArchiveState.LOADING)
    is_known = inventory.named(archive.name) or house.failures.recall(archive.key, house.at) is not None
    if is_closed or is_busy or is_known or house.terms.limits(house.terms.of(archive.name).group, budgets) is not None:
        return False
    need = {device: int(amount * MARGIN) for device, amount in inventory.sizes.need(archive).items()}
    return fits(need, inventory.ledger.free())


RULES: Final[Mapping[type[Any], Callable[[House, Any], None]]] = {e.Foreseen: foreseen}
