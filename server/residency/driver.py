"""Runs the planner: tells it events, does its commands, hands leases to those who wait. Decides nothing.

Everything happens on one event loop. Events that a command causes are handled after the commands of the event before.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from server.domain.clock import Clock
from server.domain.cold_start import ColdStart
from server.domain.model import Device, StagedArchive, Step, StepDigest
from server.domain.ports import ArchiveSource, Engine
from server.residency.host import HostTier
from server.residency.leases import RESIDENT, Lease
from server.residency.loader import Loader
from server.residency.memory.footprint import Footprints
from server.residency.observer import ResidencyObserver
from server.residency.planning import commands as c
from server.residency.planning import events as e
from server.residency.planning.failures import fresh
from server.residency.planning.planner import Planner
from server.residency.planning.records import ArchiveRecord
from server.residency.planning.states import ArchiveState, StepState

_log = logging.getLogger(__name__)

MOST_DEFERRED: Final = 100
"""Steps that may wait to go one tier down. On a server that never comes to rest more of them go beside the loads."""
MANY: Final = 100
"""Archives in the queue from which on the source is told once in `RETAIN_S` seconds what to retain."""
RETAIN_S: Final = 0.25


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
        host: HostTier,
    ) -> None:
        self.planner = planner
        self.loader = Loader(engine, clock, footprints, self.tell, observer, retry_pause_s, host)
        self.is_empty = asyncio.Event()
        self.is_empty.set()
        self._source = source
        self._host = host
        self._now = clock.now
        self._observer = observer
        self._waiters: dict[e.WaiterId, asyncio.Future[Lease]] = {}
        self._tickets: dict[e.TicketId, asyncio.Future[None]] = {}
        self._ids = itertools.count(1)
        self._events: deque[e.Event] = deque()
        self._is_telling = False
        self._demoted: dict[StepDigest, Step] = {}
        self._seen_changes = 0
        self._retaining: asyncio.TimerHandle | None = None
        self._seen_charges: dict[Device, int] = {}
        self.moved: Callable[[], None] = lambda: None
        """Called after a step came into memory or left it."""
        self.settled: Callable[[], None] = lambda: None
        """Called after events, when everything that they caused is done."""
        self.renew: Callable[[], None] = lambda: None
        """Called where the engine is to be restarted."""

    def tell(self, event: e.Event) -> None:
        """Hand an event to the planner and do what it says."""
        self._events.append(event)
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._events:
                event = self._events.popleft()
                for command in self.planner.handle(event):
                    COMMANDS[type(command)](self, command)
                self._publish()
                if type(event) in _MOVES:
                    self.moved()
        finally:
            self._is_telling = False
        self.settled()

    async def wait(self, archive: StagedArchive, *, is_use: bool = True, is_patient: bool = False) -> Lease:
        """A lease on this content as soon as it is resident. Raises what the planner refuses with."""
        while True:
            lease = await self._wait_once(archive, is_use=is_use, is_patient=is_patient)
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

    async def _wait_once(self, archive: StagedArchive, *, is_use: bool, is_patient: bool) -> Lease:
        waiter = next(self._ids)
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = granted
        try:
            self.tell(e.Wanted(self._now(), waiter, archive, is_use, is_patient))
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().release()  # granted and cancelled in the same turn of the loop
            raise
        finally:
            if self._waiters.pop(waiter, None) is not None:
                self.tell(e.GaveUp(self._now(), waiter))

    def _grant(self, command: c.Grant) -> None:
        record, is_hit = command.record, command.warmth == RESIDENT
        lease = Lease(record, self.give_back)
        lease.warmth = command.warmth
        if not is_hit:
            lease.load_s, lease.cold_start = record.load_s, record.cold_start
        waiter = self._waiters.pop(command.waiter, None)
        if waiter is None or waiter.done():
            lease.release()
            return
        waiter.set_result(lease)
        if is_hit:
            self._observer.hit(record.archive.name)
        else:
            self._observer.miss(record.archive.name, command.warmth)

    def _refuse(self, command: c.Refuse) -> None:
        waiter = self._waiters.pop(command.waiter, None)
        if waiter is not None and not waiter.done():
            waiter.set_exception(fresh(command.error))

    def _arrived(self, command: c.Arrived) -> None:
        record = command.record
        steps = self.loader.loaded_since(record.admitted_at, [step.step for step in record.steps])
        record.cold_start = ColdStart(record.archive.staging, record.load_s, steps)
        self._observer.loaded(record.archive.name, record.cold_start)

    def _departed(self, command: c.Departed) -> None:
        self._observer.evicted(command.name, command.reason)

    def _broke(self, command: c.Broke) -> None:
        # The answers need not tell: content that was there before may serve on.
        _log.warning("archive %r could not be loaded: %s", command.name, command.error)
        self._observer.failed(command.name, type(command.error).__name__)

    def _gone(self, command: c.Gone) -> None:
        ticket = self._tickets.pop(command.ticket, None)
        if ticket is not None and not ticket.done():
            ticket.set_result(None)

    def _renew_engine(self, command: c.RenewEngine) -> None:
        del command
        self.renew()

    def _recalled(self, command: c.Recalled) -> None:
        self._observer.evicted(command.record.archive.name, "the engine is renewed")

    def _load(self, command: c.Load) -> None:
        self.loader.load(command)

    def _unload(self, command: c.Unload) -> None:
        leaving = self.planner.house.inventory.steps.get(command.digest)
        if leaving is not None and not self.planner.house.is_closed:
            self._demoted[command.digest] = leaving.step
        self.loader.unload(command)

    def _publish(self) -> None:
        """Tell the source what has to stay on disk, and the observer what is charged, where that changed."""
        inventory, waiting = self.planner.house.inventory, self.planner.house.waiting
        changes = inventory.changes + waiting.changes
        if changes != self._seen_changes:
            self._seen_changes = changes
            self._retain()
            if inventory.steps:
                self.is_empty.clear()
            else:
                self.is_empty.set()
        for device, charged in inventory.ledger.charged().items():
            if self._seen_charges.get(device) != charged:
                self._seen_charges[device] = charged
                self._observer.charged(device, charged, inventory.ledger.budgets.get(device, 0))
        if self._demoted:
            self._demote()

    def _retain(self) -> None:
        """Where very many wait, the source is not told of each: what was handed out it keeps for a while anyway."""
        if len(self.planner.house.waiting.queue) < MANY:
            self._retain_now()
        elif self._retaining is None:
            self._retaining = asyncio.get_running_loop().call_later(RETAIN_S, self._retain_now)

    def _retain_now(self) -> None:
        if self._retaining is not None:
            self._retaining.cancel()
            self._retaining = None
        house = self.planner.house
        self._source.retain(house.waiting.steps.keys() | house.inventory.steps.keys())

    def _demote(self) -> None:
        """What left goes one tier down, as soon as nobody's load needs the disk: it may have to be read."""
        inventory, waiting = self.planner.house.inventory, self.planner.house.waiting
        is_busy = waiting.queue or inventory.is_any(ArchiveState.LOADING)
        if is_busy and len(self._demoted) < MOST_DEFERRED:
            return
        demoted, self._demoted = self._demoted, {}
        for digest, step in demoted.items():
            present = inventory.steps.get(digest)
            if present is None or present.state is StepState.UNLOADING:
                self._host.keep(step)


_MOVES: Final = frozenset({e.StepLoaded, e.StepUnloaded})
COMMANDS: Final[Mapping[type[Any], Callable[[Driver, Any], None]]] = MappingProxyType(
    {
        c.Grant: Driver._grant,
        c.Refuse: Driver._refuse,
        c.Arrived: Driver._arrived,
        c.Departed: Driver._departed,
        c.Broke: Driver._broke,
        c.Gone: Driver._gone,
        c.Load: Driver._load,
        c.Unload: Driver._unload,
        c.RenewEngine: Driver._renew_engine,
        c.Recalled: Driver._recalled,
    }
)
