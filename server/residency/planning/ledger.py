"""What is charged against each device's budget, by step.

A step is charged from the moment its load is planned until its unload has *finished*: by prediction first, by
measurement afterwards. Weight files that several steps map are charged once, as long as one of them is. The ledger
counts and never decides; who may be charged is the planner's business.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from server.domain.errors import Bug
from server.domain.model import CPU, Device, Footprint, StepDigest
from server.residency.planning.mapped import MappedFiles

Room: TypeAlias = dict[Device, int]
"""Bytes per device: free, needed or freed. May be negative where a device is overdrawn."""


class Ledger:
    """Charged bytes per device against `budgets` (bytes). A device without a budget is counted, not limited."""

    def __init__(self, budgets: Mapping[Device, int]) -> None:
        self.budgets = dict(budgets)
        self._charged: Room = dict.fromkeys(self.budgets, 0)
        self._charges: dict[StepDigest, Footprint] = {}
        self.mapped = MappedFiles()

    def charge(self, digest: StepDigest, footprint: Footprint) -> None:
        """Charge the step with `footprint`, instead of whatever it was charged with before."""
        if digest in self._charges:
            self.release(digest)
        self._charges[digest] = footprint
        for device, amount in footprint.bytes_by_device.items():
            self._charged[device] = self._charged.get(device, 0) + amount
        if footprint.mapped:
            self._charged[CPU] -= self.mapped.map(digest, footprint)

    def release(self, digest: StepDigest) -> None:
        """Give the step's charge back. Raises Bug if it has none."""
        if digest not in self._charges:
            raise Bug(f"step {digest} is released but was not charged. This is a bug.")
        footprint = self._charges.pop(digest)
        for device, amount in footprint.bytes_by_device.items():
            self._charged[device] -= amount
        if footprint.mapped:
            self._charged[CPU] += self.mapped.unmap(digest, footprint)

    def charge_of(self, digest: StepDigest) -> Footprint:
        """What the step is charged with, mapped files included, whoever else maps them."""
        return self._charges[digest]

    def charged(self) -> Mapping[Device, int]:
        """Charged bytes of every device that has a budget or a charge."""
        return self._charged

    def free(self) -> Room:
        """Budget less charge, for devices with a budget; negative where a measurement exceeded its prediction."""
        return {device: budget - self._charged[device] for device, budget in self.budgets.items()}

    def budgeted(self, footprints: Iterable[Footprint], besides: int = 0) -> Room:
        """The sum of `footprints`, for the devices with a budget that they touch; host bytes `besides` do not count."""
        total: Room = {}
        for footprint in footprints:
            for device, amount in footprint.bytes_by_device.items():
                if amount and device in self.budgets:
                    total[device] = total.get(device, 0) + amount
        if besides and CPU in total:
            total[CPU] -= besides
            if not total[CPU]:
                del total[CPU]
        return total

    @property
    def is_over(self) -> bool:
        """Whether any device is charged beyond its budget."""
        return any(self._charged[device] > budget for device, budget in self.budgets.items())


def fits(need: Room, room: Room) -> bool:
    """Whether `room` covers every device of `need`."""
    return all(room[device] >= amount for device, amount in need.items())


def add(room: Room, amounts: Room, sign: int = 1) -> None:
    """Add `amounts` to `room` (or take them, with `sign` -1)."""
    for device, amount in amounts.items():
        room[device] = room.get(device, 0) + sign * amount


def shortage(room: Room, devices: Iterable[Device]) -> Room:
    """How far `room` is below zero on `devices`."""
    return {device: -room[device] for device in devices if room[device] < 0}
