"""A worker's side of the talk with its home: what it hears changes which leases are used, what it did is reported."""

import asyncio
from typing import Final, Protocol

from server.domain.clock import Clock
from server.domain.model import StagedArchive
from server.engines.triton.borrowed import Whereabouts
from server.serving.admission import Admission
from server.workers.described import archive_of
from server.workers.front.app import Way
from server.workers.front.held import Held, HeldLeases
from server.workers.front.tally import LeaseTally, Tally
from server.workers.words import (
    Address,
    Called,
    Denied,
    Granted,
    Leave,
    Renewed,
    Returned,
    Stopped,
    Wants,
    Word,
)

TICK_S: Final = 0.1
"""Between reports. So old is what the home process knows of uses, and so long a new lease takes."""
SILENT_S: Final = 1.0
"""The longest time without a word, which says that the worker lives."""
MOST_WANTED: Final = 1000
"""Addresses asked for in one go, and addresses that are known to be nothing for workers."""


class Ways(Protocol):
    """Who knows how to answer requests for an archive (`assembly.py`)."""

    @property
    def admission(self) -> Admission:
        """Requests that are answered here."""
        ...

    def way(self, archive: StagedArchive, at: Whereabouts, tally: LeaseTally) -> Way:
        """How to answer requests for an archive whose entry model is there."""
        ...

    def forget(self, archive: StagedArchive) -> None:
        """The lease has come back."""
        ...


class Says(Protocol):
    """The channel, as far as it is needed here."""

    def say(self, word: Word) -> None:
        """Send a word."""
        ...


class Worker:
    """Lives on one event loop."""

    def __init__(self, channel: Says, held: HeldLeases[Way], tally: Tally, ways: Ways, clock: Clock) -> None:
        self._channel = channel
        self._held = held
        self._tally = tally
        self._ways = ways
        self._now = clock.now
        self._wanted: dict[Address, None] = {}
        self._denied: dict[Address, float] = {}
        self._said_at = clock.now()
        self._was_busy = False
        self.has_to_leave = asyncio.Event()

    def wants(self, address: Address) -> None:
        """A request for this address was passed on, and answered."""
        if len(self._wanted) < MOST_WANTED and self._denied.get(address, 0.0) <= self._now():
            self._wanted[address] = None

    def returned(self, held: Held[Way]) -> None:
        """The last use of a lease that was called back has ended."""
        self._return([held])

    def hear(self, word: Word) -> None:
        """Do what the home process says."""
        match word:
            case Granted():
                self._granted(word)
            case Renewed():
                self._held.renewed(word.leases, word.until)
            case Called():
                back = self._held.called(word.leases)
                self._say(Stopped(word.leases))
                self._return(back)
            case Denied():
                if len(self._denied) >= MOST_WANTED:
                    self._denied.clear()
                self._denied[word.address] = word.until
            case Leave():
                self.has_to_leave.set()
            case _:
                pass

    def tick(self) -> None:
        """Report, ask, and give back what nobody uses. To be called every `TICK_S`."""
        if self._wanted:
            self._say(Wants(list(self._wanted)))
            self._wanted.clear()
        self._return(self._held.left_alone(self._now()))
        self._report(is_due=self._now() - self._said_at >= SILENT_S)

    def _granted(self, word: Granted) -> None:
        if word.archive is not None and word.place is not None:
            archive, place = archive_of(word.archive), word.place
            at = Whereabouts(place.port, place.model, place.device, place.names)
            way = self._ways.way(archive, at, self._tally.of(word.lease))
            self._held.granted(Held(word.lease, archive.name, way, word.until, self._now()))
        self._held.known_as(word.lease, word.address, word.until)

    def _return(self, back: list[Held[Way]]) -> None:
        if not back:
            return
        self._report(is_due=False)  # before they are over: uses of unknown leases are not counted
        self._say(Returned([held.lease for held in back]))
        for held in back:
            self._tally.forget(held.lease)
            self._ways.forget(held.work.archive)

    def _report(self, *, is_due: bool) -> None:
        report = self._tally.report(self._held.running(), self._ways.admission.running)
        is_busy = bool(report.uses or report.running)
        if is_due or is_busy or self._was_busy or report.batches:
            self._say(report)
        self._was_busy = is_busy  # the first report of rest must not wait: somebody may want the room

    def _say(self, word: Word) -> None:
        self._said_at = self._now()
        self._channel.say(word)
