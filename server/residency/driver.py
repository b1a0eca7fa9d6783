"""Runs the planner: tells it events, does its commands, hands leases to those who wait. Decides nothing.

Everything happens on one event loop. Events that a command causes are handled after the commands of the event before.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from server.domain.clock import Clock
from server.domain.model import Device, StagedArchive
from server.domain.ports import ArchiveSource, Engine
from server.residency import events as e
from server.residency.failures import fresh
from server.residency.footprint import Footprints
from server.residency.leases import RESIDENT, Lease
from server.residency.loader import Loader
from server.residency.observer import ResidencyObserver
from server.residency.planner import Planner
from server.residency.records import ArchiveRecord


class Driver:
    """The planner's hands and voice. `is_empty` is set whenever nothing is in memory."""

    def __init__(
        self,
        planner: Planner,
        engine: Engine,
        source: ArchiveSource,
        footprints: Footprints,
        clock: Clock,
        observer: ResidencyObserver,
        retry_pause_s: float,
    ) -> None:
        self.planner = planner
        self.loader = Loader(engine, clock, footprints, self.tell, observer.unloaded, retry_pause_s)
        self.is_empty = asyncio.Event()
        self.is_empty.set()
        self._source = source
        self._now = clock.now
        self._observer = observer
        self._waiters: dict[e.WaiterId, asyncio.Future[Lease]] = {}
        self._tickets: dict[e.TicketId, asyncio.Future[None]] = {}
        self._ids = itertools.count(1)
        self._events: deque[e.Event] = deque()
        self._is_telling = False
        self._seen_changes = 0
        self._seen_charges: dict[Device, int] = {}

    def tell(self, event: e.Event) -> None:
        """Hand an event to the planner and do what it says."""
        self._events.append(event)
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._events:
                for command in self.planner.handle(self._events.popleft()):
                    COMMANDS[type(command)](self, command)
                self._publish()
        finally:
            self._is_telling = False

    async def wait(self, archive: StagedArchive, *, is_use: bool = True) -> Lease:
        """A lease on this content as soon as it is resident. Raises what the planner refuses with."""
        while True:
            lease = await self._wait_once(archive, is_use=is_use)
            if not lease.is_void:
                return lease
            lease.release()  # the engine died between the grant and this turn of the loop

    async def unload(self, name: str) -> None:
        """Returns when the archive's memory is back."""
        ticket = next(self._ids)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tickets[ticket] = gone
        try:
            self.tell(e.Unwanted(self._now(), ticket, name))
            await gone
        finally:
            self._tickets.pop(ticket, None)

    def give_back(self, record: ArchiveRecord) -> None:
        """A lease was released."""
        now = self._now()
        if self.planner.release(record, now):
            self.tell(e.Idle(now))

    async def _wait_once(self, archive: StagedArchive, *, is_use: bool) -> Lease:
        waiter = next(self._ids)
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = granted
        try:
            self.tell(e.Wanted(self._now(), waiter, archive, is_use))
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().release()  # granted and cancelled in the same turn of the loop
            raise
        finally:
            if self._waiters.pop(waiter, None) is not None:
                self.tell(e.GaveUp(self._now(), waiter))

    def _grant(self, command: e.Grant) -> None:
        record, is_hit = command.record, command.warmth == RESIDENT
        lease = Lease(record, self.give_back)
        lease.warmth, lease.load_s = command.warmth, 0.0 if is_hit else record.load_s
        waiter = self._waiters.pop(command.waiter, None)
        if waiter is None or waiter.done():
            lease.release()
            return
        waiter.set_result(lease)
        if is_hit:
            self._observer.hit(record.archive.name)
        else:
            self._observer.miss(record.archive.name, command.warmth)

    def _refuse(self, command: e.Refuse) -> None:
        waiter = self._waiters.pop(command.waiter, None)
        if waiter is not None and not waiter.done():
            waiter.set_exception(fresh(command.error))

    def _arrived(self, command: e.Arrived) -> None:
        record = command.record
        self._observer.loaded(record.archive.name, record.load_s, record.archive.staging_s)

    def _departed(self, command: e.Departed) -> None:
        self._observer.evicted(command.name, command.reason)

    def _broke(self, command: e.Broke) -> None:
        self._observer.failed(command.name, type(command.error).__name__)

    def _gone(self, command: e.Gone) -> None:
        ticket = self._tickets.pop(command.ticket, None)
        if ticket is not None and not ticket.done():
            ticket.set_result(None)

    def _load(self, command: e.Load) -> None:
        self.loader.load(command)

    def _unload(self, command: e.Unload) -> None:
        self.loader.unload(command)

    def _publish(self) -> None:
        """Tell the source what has to stay on disk, and the observer what is charged, where that changed."""
        inventory, waiting = self.planner.house.inventory, self.planner.house.waiting
        changes = inventory.changes + waiting.changes
        if changes != self._seen_changes:
            self._seen_changes = changes
            queued = {step.digest for archive in waiting.queue.values() for step in archive.steps}
            self._source.retain(queued.union(inventory.steps))
            if inventory.steps:
                self.is_empty.clear()
            else:
                self.is_empty.set()
        for device, charged in inventory.ledger.charged().items():
            if self._seen_charges.get(device) != charged:
                self._seen_charges[device] = charged
                self._observer.charged(device, charged, inventory.ledger.budgets.get(device, 0))


COMMANDS: Final[Mapping[type[Any], Callable[[Driver, Any], None]]] = MappingProxyType(
    {
        e.Grant: Driver._grant,
        e.Refuse: Driver._refuse,
        e.Arrived: Driver._arrived,
        e.Departed: Driver._departed,
        e.Broke: Driver._broke,
        e.Gone: Driver._gone,
        e.Load: Driver._load,
        e.Unload: Driver._unload,
    }
)
