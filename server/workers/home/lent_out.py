"""What one worker was lent: where each lease is on its way, and whether the worker still does its part. Pure.

    lent ---call---> called ---Stopped---> stopped ---Returned---> (gone)
      |                 |                                             ^
      +-----------------+------------ Returned ----------------------+        and all of it when the worker is dead

A worker that does not say `Stopped` in time, says nothing at all, or lets requests run for longer than they may, is
*overdue*: it has to be killed, and only then its leases are back.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

from server.workers.words import Address

Loan = TypeVar("Loan")


MOST_ADDRESSES: Final = 16
"""Ways to ask for one archive; callers of the runtime's endpoints may make up any number."""


class LoanState(StrEnum):
    """Where a loan is; see the drawing."""

    LENT = "lent"
    CALLED = "called"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker may take, in seconds."""

    stop_s: float = 5.0
    """From the call to `Stopped`: its event loop has to come round once."""
    run_s: float = 75.0
    """From there to `Returned`: what runs may run to its time limit."""
    silent_s: float = 30.0
    """Between two words; a worker that lives says something every second."""
    start_s: float = 120.0
    """Until its first word."""


@dataclass(slots=True)
class Lent(Generic[Loan]):
    """One loan. `since`: when it came into its state. `name`: the archive's."""

    lease: int
    name: str
    loan: Loan
    since: float
    used_at: float
    state: LoanState = LoanState.LENT
    addresses: set[Address] = field(default_factory=set)
    """How requests ask for it, as far as the worker was told."""


class LentOut(Generic[Loan]):
    """The loans of one worker."""

    def __init__(self, patience: Patience, at: float) -> None:
        self._patience = patience
        self._loans: dict[int, Lent[Loan]] = {}
        self._heard_at = at - patience.silent_s + patience.start_s
        self._count = 0

    def __len__(self) -> int:
        return len(self._loans)

    def __iter__(self) -> Iterator[Lent[Loan]]:
        return iter(list(self._loans.values()))

    def heard(self, at: float) -> None:
        """The worker said something."""
        self._heard_at = at

    def lend(self, name: str, loan: Loan, at: float) -> Lent[Loan]:
        """A new loan, under a number of its own."""
        self._count += 1
        lent = Lent(self._count, name, loan, at, at)
        self._loans[lent.lease] = lent
        return lent

    def find(self, name: str) -> Lent[Loan] | None:
        """A loan of this archive that may be used on."""
        found = (each for each in self._loans.values() if each.name == name and each.state is LoanState.LENT)
        return next(found, None)

    def get(self, lease: int) -> Lent[Loan] | None:
        """The loan with this number, unless it is over."""
        return self._loans.get(lease)

    def call(self, is_due: Callable[[Lent[Loan]], bool], at: float) -> list[int]:
        """Call back what is due and was not called yet. Returns the numbers, to be said to the worker."""
        due = [each for each in self._loans.values() if each.state is LoanState.LENT and is_due(each)]
        for each in due:
            each.state, each.since = LoanState.CALLED, at
        return [each.lease for each in due]

    def stopped(self, leases: Iterable[int], at: float) -> None:
        """The worker begins nothing new on these."""
        for lease in leases:
            lent = self._loans.get(lease)
            if lent is not None and lent.state is LoanState.CALLED:
                lent.state, lent.since = LoanState.STOPPED, at

    def returned(self, leases: Iterable[int]) -> list[Loan]:
        """These are over. Returns them, to be given back."""
        found = [self._loans.pop(lease, None) for lease in leases]
        return [lent.loan for lent in found if lent is not None]

    def died(self) -> list[Loan]:
        """The worker is dead: all are over. Returns them, to be given back."""
        return self.returned(list(self._loans))

    def overdue(self, at: float) -> str:
        """Why the worker has to be killed; "" where it need not."""
        if at - self._heard_at > self._patience.silent_s:
            return "it says nothing"
        for lent in self._loans.values():
            if lent.state is LoanState.CALLED and at - lent.since > self._patience.stop_s:
                return f"it did not stop using {lent.name!r} within {self._patience.stop_s:g} s"
            if lent.state is LoanState.STOPPED and at - lent.since > self._patience.run_s:
                return f"requests for {lent.name!r} ran on for {self._patience.run_s:g} s"
        return ""
