"""Who may write into the disk cache, and who waits for room there. First come, first served; on one event loop.

A fetch comes in with its first demand, and takes a *berth* with it: there are as many as threads that transfer, so that
nobody reserves room before its transfer can begin. Later demands (for what is unpacked, for what is adopted) are the
same fetch's. Served first are bases that others wait for, who need no berth; then those who hold something, by age;
then those who come in, by age. The first of the line is tried whenever something has changed, and until there is room
nobody passes. Only the first is woken: what a change costs does not depend on how many wait. It waits while room

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
from server.store.disk.turns import Rank, Turns
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
    def key(self) -> str:
        """What others say whom they wait for (`base_is_awaited`)."""
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
        self.called = asyncio.Event()
        """Set when it should look again: it is the first, and something has changed, or it must start over."""

    @property
    def is_holding(self) -> bool:
        """Whether others miss the room that it has reserved."""
        return self.workspace.reserved_bytes > 0

    @property
    def rank(self) -> Rank:
        """Who is served first has the smallest."""
        return not self.errand.is_base, not (self.has_berth or self.is_holding), self.errand.serial


class DiskLine:
    """The line before the disk cache."""

    def __init__(self, cache: DiskCache, threads: StoreThreads) -> None:
        self._cache = cache
        self._threads = threads
        self._visits: dict[Visit, None] = {}
        self._waiting: dict[str, set[Visit]] = {}
        """By key."""
        self._turns = Turns[Visit](lambda visit: visit.rank)
        self._berths = threads.transfers
        """How many are free; fewer than none where bases went on without."""
        self._changes = 0
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
        self._visits[visit] = None
        try:
            yield visit
        finally:
            del self._visits[visit]
            self._give_berth(visit, has=False)
            self.wake()

    @contextmanager
    def awaiting_base(self, visit: Visit) -> Iterator[None]:
        """Around the time in which a fetch waits for others: its berth is free meanwhile."""
        visit.doing = _Doing.AWAITING_BASE
        self._give_berth(visit, has=False)
        self.wake()
        try:
            yield
        finally:
            visit.doing = _Doing.WORKING
            self._give_berth(visit, has=True)

    def base_is_awaited(self, key: str) -> None:
        """The archive of this key, which may be in the line, is a base that others wait for from now on."""
        for visit in self._waiting.get(key, ()):
            self._turns.promoted(visit)
        self.wake()

    async def take(self, visit: Visit, demand: Callable[[], T], *, is_patient: bool = True) -> T:
        """Carry out `demand` (blocking; it raises DiskFull where there is no room now) once there is room for it.

        Raises:
            DiskFull: there never will be, or (not `is_patient`) there is none, or others were first.
            NotReady: nobody waits for the archive any more, and there is no room yet.
            StartOver: others need what the fetch holds.
        """
        with self._in_line(visit):
            while True:
                visit.called.clear()
                seen, is_first = self._changes, self._first() is visit
                if is_first:
                    try:
                        taken = await self._threads.transfer(demand)
                    except DiskFull as full:
                        if not is_patient:
                            raise
                        await self._require_hope(visit, full, seen)
                    else:
                        self._give_berth(visit, has=True)
                        return taken
                elif not is_patient:
                    raise DiskFull(f"others wait for room on disk before archive {visit.errand.name!r}")
                await _either(visit.called, RECHECK_S if is_first else None)
                if visit.must_start_over:
                    raise StartOver

    def wake(self) -> None:
        """Something has changed that may have made room, or another one the first."""
        self._changes += 1
        first = self._first()
        if first is not None:
            first.called.set()

    @contextmanager
    def _in_line(self, visit: Visit) -> Iterator[None]:
        visit.doing = _Doing.WAITING
        self._waiting.setdefault(visit.errand.key, set()).add(visit)
        self._turns.enter(visit)
        try:
            yield
        finally:
            visit.doing = _Doing.WORKING
            self._turns.leave(visit)
            namesakes = self._waiting[visit.errand.key]
            namesakes.remove(visit)
            if not namesakes:
                del self._waiting[visit.errand.key]
            self.wake()

    def _give_berth(self, visit: Visit, *, has: bool) -> None:
        self._berths += visit.has_berth - has
        visit.has_berth = has

    def _first(self) -> Visit | None:
        """Who is to be served next. Who has no berth waits for one, except a base that others wait for."""
        first = self._turns.first()
        if first is None or first.has_berth or first.is_holding or first.errand.is_base or self._berths > 0:
            return first
        return None

    async def _require_hope(self, visit: Visit, full: DiskFull, seen: int) -> None:
        """Return if waiting may help. What has changed since room was asked for (`seen` changes) may have made some."""
        names = visit.errand.wanted_by()
        if full.is_hopeless or not full.missing_bytes:
            raise full
        if not names or (self.tenant is not None and not self.tenant.is_wanted(names)):
            raise NotReady(visit.errand.name, ASK_AGAIN_S) from full
        protected = await self._threads.check(self._cache.protected_files, self._at_rest(visit))
        if self._changes != seen:
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
            youngest = max(others, key=lambda other: other.errand.serial)
            youngest.must_start_over = True
            youngest.called.set()
            self.wake()
        return bool(others)


async def _either(event: asyncio.Event, patience_s: float | None) -> None:
    """Until the event, or until patience ends (`None`: never)."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await event.wait()
