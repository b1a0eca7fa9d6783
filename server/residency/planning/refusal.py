"""Telling somebody that an archive does not fit: into a device's budget, or into the quota of its group."""

from server.domain.errors import DeviceFull
from server.domain.model import Device, StagedArchive
from server.residency.planning.house import House
from server.residency.planning.ledger import Room
from server.residency.planning.quotas import over_quota


def refused_as_too_large(house: House, archive: StagedArchive) -> bool:
    """Refuse what is larger than a device's budget, or alone larger than its group's quota. Returns whether it was."""
    total, budgets = house.inventory.sizes.total(archive), house.inventory.ledger.budgets
    over = over_quota(budgets, total)
    if over is not None:
        refuse(house, archive, over, total[over])
        return True
    group = house.terms.of(archive.name).group
    quota = house.terms.limits(group, budgets)
    over = over_quota(quota, total) if quota is not None else None
    if over is not None:
        refuse(house, archive, over, total[over], quota, group)
    return over is not None


def refuse(
    house: House, archive: StagedArchive, device: Device, needed: int, quota: Room | None = None, group: str = ""
) -> None:
    """Say so to everybody who waits for the archive; where content before it is there, they get that."""
    budget = (quota or house.inventory.ledger.budgets)[device]
    said = f"that is the quota of group {group!r} there" if quota is not None else ""
    error = DeviceFull(archive.name, device, needed, budget, said)
    house.serve_old_or_refuse(house.waiting.dismiss(archive.key), archive, error)
