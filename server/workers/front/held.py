"""The leases that a worker holds: which request may use which, and when one comes back. Pure.

A lease, in the worker's eyes:

            granted                called, or left alone            last use ended
      none ---------> good <----> expired ------------> stopping ----------------> returned
                           renewed

A good lease is used without asking anybody. An expired one is not used (the request is passed on), and may be renewed.
A stopping one is used only by what began before. `Stopped` is said at once, `Returned` with the last use's end.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from server.workers.words import Address

Work = TypeVar("Work")
"""What a worker needs to use a lease."""


class Held(Generic[Work]):
    """One lease. `work` is whatever the holder needs to use it."""

    __slots__ = ("addresses", "is_stopping", "lease", "name", "running", "until", "used_at", "work")

    def __init__(self, lease: int, name: str, work: Work, until: float, at: float) -> None:
        self.lease = lease
        self.name = name
        self.work = work
        self.until = until
        self.running = 0
        self.used_at = at
        self.is_stopping = False
        self.addresses: list[Address] = []


class HeldLeases(Generic[Work]):
    """Every lease of one worker, by number and by address."""

    def __init__(self, idle_s: float) -> None:
        """`idle_s`: leases that were not used for so long go back."""
        self._idle_s = idle_s
        self._by_address: dict[Address, Held[Work]] = {}
        self._by_lease: dict[int, Held[Work]] = {}

    def __len__(self) -> int:
        return len(self._by_lease)

    def __contains__(self, lease: int) -> bool:
        return lease in self._by_lease

    def find(self, address: Address, at: float) -> Held[Work] | None:
        """The lease that a request for this address may use now. One dictionary look-up."""
        held = self._by_address.get(address)
        return held if held is not None and at < held.until else None

    def begin(self, held: Held[Work]) -> None:
        """A request uses the lease, which `find` gave without anything in between."""
        held.running += 1

    def end(self, held: Held[Work], at: float) -> bool:
        """It does not any more. Returns whether the lease has come back by that: then `Returned` is due."""
        held.running -= 1
        held.used_at = at
        return held.is_stopping and self._may_forget(held)

    def granted(self, held: Held[Work]) -> None:
        """A new lease."""
        self._by_lease[held.lease] = held

    def known_as(self, lease: int, address: Address, until: float) -> None:
        """The address asks for this lease. What it asked for before has other addresses, or is on its way back."""
        held = self._by_lease.get(lease)
        if held is None or held.is_stopping:
            return
        held.until = max(held.until, until)
        if address in held.addresses:
            return
        before = self._by_address.get(address)
        if before is not None:
            before.addresses.remove(address)
        held.addresses.append(address)
        self._by_address[address] = held

    def renewed(self, leases: Iterable[int], until: float) -> None:
        """These are good until then."""
        for lease in leases:
            held = self._by_lease.get(lease)
            if held is not None and not held.is_stopping:
                held.until = until

    def called(self, leases: Iterable[int]) -> list[Held[Work]]:
        """No new uses of these. Returns those that nobody uses: they have come back."""
        found = [self._by_lease[lease] for lease in leases if lease in self._by_lease]
        return [held for held in found if self._stop(held)]

    def left_alone(self, at: float) -> list[Held[Work]]:
        """Give back what nobody used for long. Returns those."""
        idle = [held for held in self._by_lease.values() if not held.running and held.used_at + self._idle_s <= at]
        return [held for held in idle if self._stop(held)]

    def running(self) -> list[int]:
        """The leases that are in use now."""
        return [held.lease for held in self._by_lease.values() if held.running]

    def _stop(self, held: Held[Work]) -> bool:
        held.is_stopping = True
        for address in held.addresses:
            del self._by_address[address]
        held.addresses.clear()
        return self._may_forget(held)

    def _may_forget(self, held: Held[Work]) -> bool:
        if held.running:
            return False
        self._by_lease.pop(held.lease, None)
        return True
