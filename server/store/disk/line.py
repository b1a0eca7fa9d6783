"""Who may write into the disk cache, and who waits for room there. First come, first served; on one event loop.

A fetch comes in with its first demand, and takes a *berth* with it: there are as many as threads that transfer, so that
nobody reserves room before its transfer can begin. Later demands (for what is unpacked, for what is adopted) are the
same fetch's. Served first are bases that others wait for, who need no berth; then those who hold something, by age;
then those who come in, by age. The first of the line is tried whenever something has changed, and until there is room
nobody passes. It waits while room

- is held by fetches that are at work, or by what was handed out a moment ago: that passes by itself;
- is retained by whoever uses the archives (the `DiskTenant`), and will or may be let go;
- is held by others in the line: the youngest of them that holds anything gives it up and *starts over*, with all it
  needs reserved at once. So nobody waits for ever for somebody who waits for them.

Only where none of these holds is it told DiskFull. Whom nobody waits for any more gives its place up.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final, Protocol, TypeVar

from server.domain.disk_need import DiskNeed, DiskOutlook, DiskTenant
from server.domain.errors import DiskFull, NotReady
from server.store.disk.cache import DiskCache
from server.store.disk.workspace import Workspace
from server.store.threads import StoreThreads

T = TypeVar("T")

RECHECK_S: Final = 0.25
"""The first of the line looks again so often: leases and new arrivals come to rest without telling."""
ASK_AGAIN_S: Final = 1.0


class StartOver(Exception):
    """Give up what is held, and begin anew with all that is needed. Never leaves this package."""


class _Doing(Enum):
    OUTSIDE = "outside"
    WAITING = "waiting"
    WORKING = "working"
    AWAITING_BASE = "awaiting its base"


class Errand(Protocol):
    """What is fetched, and for whom. `serial` is its age: who began earlier has a smaller one."""

    @property
    def name(self) -> str:
        """The archive."""
        ...

    @property
    def serial(self) -> int:
        """Who began earlier has a smaller one."""
        ...

    def wanted_by(self) -> list[str]:
        """The archives that somebody waits for, of it and of those that need it; empty: nobody does."""
        ...

    @property
    def is_base(self) -> bool:
        """Whether others that are under way cannot go on before it is there."""
        ...


class Visit:
    """One fetch's time in the disk cache."""

    def __init__(self, errand: Errand, workspace: Workspace) -> None:
        self.errand = errand
        self.workspace = workspace
        self.doing = _Doing.OUTSIDE
        self.has_berth = False
        self.must_start_over = False

    @property
    def is_holding(self) -> bool:
        """Whether others miss the room that it has reserved."""
        return self.workspace.reserved_bytes > 0

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """Who is served first has the smallest."""
        return not self.errand.is_base, not (self.has_berth or self.is_holding), self.errand.serial


class DiskLine:
    """The line before the disk cache."""

    def __init__(self, cache: DiskCache, threads: StoreThreads) -> None:
        self._cache = cache
        self._threads = threads
        self._visits: list[Visit] = []
        self._changed = asyncio.Event()
        self._serials = itertools.count()
        self.tenant: DiskTenant | None = None
        """Who retains steps; `None`: what is retained stays."""

    def next_serial(self) -> int:
        """The age of an errand that begins now."""
        return next(self._serials)

    @contextmanager
    def visit(self, errand: Errand, workspace: Workspace) -> Iterator[Visit]:
        """Around everything that is done in a workspace, its end included: then its room is there for others."""
        visit = Visit(errand, workspace)
        self._visits.append(visit)
        try:
            yield visit
        finally:
            self._visits.remove(visit)
            self.wake()

    @contextmanager
    def awaiting_base(self, visit: Visit) -> Iterator[None]:
        """Around the time in which a fetch waits for others: its berth is free meanwhile."""
        visit.doing, visit.has_berth = _Doing.AWAITING_BASE, False
        self.wake()
        try:
            yield
        finally:
            visit.doing, visit.has_berth = _Doing.WORKING, True

    async def take(self, visit: Visit, demand: Callable[[], T], *, is_patient: bool = True) -> T:
        """Carry out `demand` (blocking; it raises DiskFull where there is no room now) once there is room for it.

        Raises:
            DiskFull: there never will be, or (not `is_patient`) there is none, or others were first.
            NotReady: nobody waits for the archive any more, and there is no room yet.
            StartOver: others need what the fetch holds.
        """
        visit.doing = _Doing.WAITING
        try:
            while True:
                changed = self._changed
                if self._first() is visit:
                    try:
                        taken = await self._threads.transfer(demand)
                    except DiskFull as full:
                        if not is_patient:
                            raise
                        await self._require_hope(visit, full, changed)
                    else:
                        visit.has_berth = True
                        return taken
                elif not is_patient:
                    raise DiskFull(f"others wait for room on disk before archive {visit.errand.name!r}")
                await _either(changed, RECHECK_S)
                if visit.must_start_over:
                    raise StartOver
        finally:
            visit.doing = _Doing.WORKING
            self.wake()

    def wake(self) -> None:
        """Something has changed that may have made room."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _first(self) -> Visit | None:
        """Who is to be served next. Who has no berth waits for one, except a base that others wait for."""
        berths = self._threads.transfers - sum(visit.has_berth for visit in self._visits)
        waiting = [visit for visit in self._visits if visit.doing is _Doing.WAITING]
        first = min(waiting, key=lambda visit: visit.rank, default=None)
        if first is None or first.has_berth or first.is_holding or first.errand.is_base or berths > 0:
            return first
        return None

    async def _require_hope(self, visit: Visit, full: DiskFull, changed: asyncio.Event) -> None:
        """Return if waiting may help. What has `changed` since room was asked for may have made some."""
        names = visit.errand.wanted_by()
        if full.is_hopeless or not full.missing_bytes:
            raise full
        if not names or (self.tenant is not None and not self.tenant.is_wanted(names)):
            raise NotReady(visit.errand.name, ASK_AGAIN_S) from full
        protected = await self._threads.check(self._cache.protected_files, self._at_rest(visit))
        if changed.is_set():
            return
        passing_bytes = protected.passing_bytes + self._reserved_at_work(visit)
        if passing_bytes >= full.missing_bytes:
            return
        outlook = DiskOutlook.NEVER
        if self.tenant is not None:
            need = DiskNeed(visit.errand.name, names, full.missing_bytes, protected.files, protected.busy)
            outlook = self.tenant.make_room(need)
        if outlook is DiskOutlook.COMING:
            return
        is_helped = self._send_back_the_youngest(visit) or passing_bytes > 0
        if outlook is DiskOutlook.NEVER and not is_helped:
            raise full

    def _reserved_at_work(self, visit: Visit) -> int:
        """Bytes that others will give back without anybody's doing."""
        at_rest = self._at_rest(visit)
        return sum(each.workspace.reserved_bytes for each in self._visits if each.workspace not in at_rest)

    def _at_rest(self, visit: Visit) -> list[Workspace]:
        """Those that end only after this one, and its own. A base that others wait for is before everybody else."""
        at_rest = {_Doing.WAITING, _Doing.AWAITING_BASE} if visit.errand.is_base else {_Doing.WAITING}
        return [other.workspace for other in self._visits if other is visit or other.doing in at_rest]

    def _send_back_the_youngest(self, visit: Visit) -> bool:
        """Whether somebody in the line gives up what it holds, by now or before."""
        others = [
            other for other in self._visits if other is not visit and other.doing is _Doing.WAITING and other.is_holding
        ]
        if others and not any(other.must_start_over for other in others):
            max(others, key=lambda other: other.errand.serial).must_start_over = True
            self.wake()
        return bool(others)


async def _either(event: asyncio.Event, patience_s: float) -> None:
    """Until the event, or until patience ends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await event.wait()
