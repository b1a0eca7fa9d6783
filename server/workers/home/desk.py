"""Where workers get leases and give them back: the home process's side of the talk, for all workers.

A lease is lent on content that was verified lately, for `valid_s`, and renewed ahead of time as long as the worker uses
it and the content stays the current one. It is called back when residency wants it back, and it is given back to
residency when the worker says that nobody uses it, or is dead.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from server.domain.clock import Clock
from server.domain.model import StagedArchive, StepDigest
from server.engines.triton.borrowed import Whereabouts
from server.telemetry.metrics import Level
from server.workers.described import described
from server.workers.home.lent_out import MOST_ADDRESSES, Lent, LentOut, LoanState, Patience
from server.workers.words import (
    Address,
    Called,
    Denied,
    Granted,
    Place,
    Renewed,
    Report,
    Returned,
    Stopped,
    Uses,
    Wants,
    Word,
)

TICK_S: Final = 0.1
RENEWED_FOR_S: Final = 2.0
"""How long after its last use a lease is still renewed; after that it expires, and the next request is passed on."""
DENIED_S: Final = 60.0


class Loan(Protocol):
    """See `residency.lending.Loan`."""

    @property
    def archive(self) -> StagedArchive:
        """What was lent."""
        ...

    @property
    def is_called_back(self) -> bool:
        """Whether it has to come back."""
        ...

    def used(self, uses: int, ago_s: float, mean_run_s: float) -> None:
        """Tell of uses."""
        ...

    def rest(self, *, is_quiet: bool) -> None:
        """Tell whether it is in use."""
        ...

    def give_back(self) -> None:
        """It is over."""
        ...


class Lends(Protocol):
    """See `residency.lending.Lending`."""

    def lend(self, name: str) -> Loan | None:
        """Lend what is resident and up to date."""
        ...

    def is_current(self, archive: StagedArchive) -> bool:
        """Whether this is the content that was verified lately."""
        ...


class Says(Protocol):
    """The channel, as far as it is needed here."""

    def say(self, word: Word) -> None:
        """Send a word."""
        ...


class Hears(Protocol):
    """Who is told what workers did."""

    def used(self, name: str, uses: Uses) -> None:
        """Uses of one archive."""
        ...

    def ran(self, rows: int, waited_s: list[float]) -> None:
        """A batch."""
        ...


@dataclass(slots=True)
class Counter:
    """One worker, as the desk sees it."""

    pid: int
    channel: Says
    lent: LentOut[Loan]
    in_flight: int = 0
    suspicion: str = ""
    """Why it was overdue at the last look; at the second it has to go: it may be us who were late to listen."""


class Desk:
    """Lives on the event loop of the home process."""

    def __init__(
        self,
        lending: Lends,
        find: Callable[[Address], str | None],
        whereabouts: Callable[[StepDigest], Whereabouts | None],
        told: Hears,
        clock: Clock,
        valid_s: float,
        patience: Patience,
    ) -> None:
        """`find`: which archive an address means; `None`: what is asked for there is nothing for workers."""
        self._lending = lending
        self._find = find
        self._whereabouts = whereabouts
        self._told = told
        self._now = clock.now
        self._valid_s = valid_s
        self._patience = patience
        self._counters: list[Counter] = []
        self._is_draining = False
        self._deaths = 0
        self.has_all = asyncio.Event()
        """Set when everything is back, once it was called for (`drain`)."""

    @property
    def in_flight(self) -> int:
        """Requests that workers are answering by themselves, as of their last reports."""
        return sum(each.in_flight for each in self._counters)

    @property
    def lent(self) -> int:
        """Leases that are out."""
        return sum(len(each.lent) for each in self._counters)

    def open(self, channel: Says, pid: int) -> Counter:
        """A worker has come."""
        counter = Counter(pid, channel, LentOut(self._patience, self._now()))
        self._counters.append(counter)
        return counter

    def close(self, counter: Counter) -> None:
        """The worker is dead: everything that it was lent is back. Idempotent."""
        if counter in self._counters:
            self._counters.remove(counter)
            self._deaths += not self._is_draining
        for loan in counter.lent.died():
            loan.give_back()
        self._look_for_all()

    def hear(self, counter: Counter, word: Word) -> None:
        """Do what a worker says."""
        counter.lent.heard(self._now())
        match word:
            case Wants():
                for address in word.addresses:
                    self._wanted(counter, address)
            case Report():
                self._reported(counter, word)
            case Stopped():
                counter.lent.stopped(word.leases, self._now())
            case Returned():
                for loan in counter.lent.returned(word.leases):
                    loan.give_back()
                self._look_for_all()
            case _:
                pass

    def settle(self) -> None:
        """Call back what residency wants back; to be called whenever that may have changed."""
        for counter in self._counters:
            self._call(counter, lambda lent: lent.loan.is_called_back)

    def readdress(self) -> None:
        """Call back what is asked for in a way that means something else now."""
        for counter in self._counters:
            self._call(counter, lambda lent: any(self._find(each) != lent.name for each in lent.addresses))

    def drain(self) -> None:
        """Lend nothing more, and call everything back."""
        self._is_draining = True
        for counter in self._counters:
            self._call(counter, lambda _: True)
        self._look_for_all()

    def tick(self) -> None:
        """Renew what is in use. To be called every `TICK_S`."""
        now = self._now()
        is_current: dict[tuple[str, str], bool] = {}
        for counter in self._counters:
            leases = [each.lease for each in counter.lent if self._may_be_renewed(each, now, is_current)]
            if leases:
                counter.channel.say(Renewed(leases, now + self._valid_s))

    def overdue(self, counter: Counter) -> str:
        """Why the worker has to be killed; "" where it need not. To be asked once a tick."""
        reason = counter.lent.overdue(self._now())
        counter.suspicion, before = reason, counter.suspicion
        return reason if before else ""

    def describe(self) -> list[dict[str, Any]]:
        """Facts for people, JSON-ready."""
        return [
            {"pid": each.pid, "leases": len(each.lent), "in_flight": each.in_flight} for each in list(self._counters)
        ]

    def levels(self) -> Iterator[Level]:
        """As metrics."""
        yield Level("roundhouse_workers", "Front-end workers that are running", len(self._counters))
        yield Level("roundhouse_worker_deaths", "Front-end workers that ended by themselves", self._deaths)
        yield Level("roundhouse_worker_leases", "Leases that front-end workers hold", self.lent)

    def _look_for_all(self) -> None:
        if self._is_draining and not self.lent:
            self.has_all.set()

    def _call(self, counter: Counter, is_due: Callable[[Lent[Loan]], bool]) -> None:
        leases = counter.lent.call(is_due, self._now())
        if leases:
            counter.channel.say(Called(leases))

    def _may_be_renewed(self, lent: Lent[Loan], now: float, known: dict[tuple[str, str], bool]) -> bool:
        if lent.state is not LoanState.LENT or now - lent.used_at > RENEWED_FOR_S:
            return False
        key = lent.name, lent.loan.archive.version
        if key not in known:
            known[key] = self._lending.is_current(lent.loan.archive)
        return known[key]

    def _wanted(self, counter: Counter, address: Address) -> None:
        now = self._now()
        if self._is_draining:
            return
        name = self._find(address)
        if name is None:
            counter.channel.say(Denied(address, now + DENIED_S))
            return
        known = counter.lent.find(name)
        if known is not None and self._lending.is_current(known.loan.archive):
            if len(known.addresses) >= MOST_ADDRESSES and address not in known.addresses:
                return
            known.used_at = now
            known.addresses.add(address)
            counter.channel.say(Granted(known.lease, address, now + self._valid_s))
            return
        loan = self._lending.lend(name)
        if loan is None:
            return
        place = self._place(loan.archive)
        if place is None or loan.archive.signature.is_decoupled:
            loan.give_back()
            counter.channel.say(Denied(address, now + (DENIED_S if place is not None else self._valid_s)))
            return
        lent = counter.lent.lend(name, loan, now)
        lent.addresses.add(address)
        counter.channel.say(Granted(lent.lease, address, now + self._valid_s, described(loan.archive), place))

    def _place(self, archive: StagedArchive) -> Place | None:
        at = self._whereabouts(archive.entry)
        return Place(at.port, at.model, at.device, dict(at.names)) if at is not None else None

    def _reported(self, counter: Counter, report: Report) -> None:
        now = self._now()
        counter.in_flight = report.in_flight
        busy = {*report.running, *(each.lease for each in report.uses)}
        for uses in report.uses:
            lent = counter.lent.get(uses.lease)
            if lent is None:
                continue
            self._told.used(lent.name, uses)
            count = max(uses.count, len(uses.arrivals)) + (0 if uses.arrivals else uses.errors)
            mean_s = (uses.infer_s + uses.overhead_s) / uses.count if uses.count else 0.0
            lent.loan.used(count, now - uses.last_used, mean_s)
        for lent in counter.lent:
            is_busy = lent.lease in busy
            if is_busy:
                lent.used_at = now
            lent.loan.rest(is_quiet=not is_busy)
        for rows, waited_s in report.batches:
            self._told.ran(rows, waited_s)
