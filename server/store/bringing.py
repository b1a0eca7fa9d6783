"""One archive's way from its origin into the disk cache: room, fetch, unpack, borrow, lay out, adopt."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from server.archive.needs import NOTHING_LENT, Loan
from server.domain.clock import Clock
from server.domain.cold_start import Staging
from server.domain.errors import DiskFull, InvalidArchive, UnsupportedModel
from server.domain.model import StagedArchive
from server.store.borrowing import Borrower, Borrowing
from server.store.disk.cache import DiskCache
from server.store.disk.line import DiskLine, Visit
from server.store.origin import Origin, OriginChanged
from server.store.stager import Fetched, Opened, Stager
from server.store.stopwatch import Stopwatch
from server.store.threads import StoreThreads


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name leads: the archive's key in the cache, what it is called, and who has it."""

    key: str
    name: str
    origin: Origin


class Errand:
    """One flight on its way to an archive; implements `disk_line.Errand`. It stays the same when it starts over."""

    def __init__(
        self, place: Place, serial: int, waiting_for: Callable[[str], list[str]], is_base: Callable[[], bool]
    ) -> None:
        """`waiting_for`: the names that somebody waits for who needs the archive of this key."""
        self.place = place
        self.name = place.name
        self.key = place.key
        self.serial = serial
        self.known_bytes = 0
        """What it was found to need, when it had to start over."""
        self._waiting_for = waiting_for
        self._is_base = is_base

    def wanted_by(self) -> list[str]:
        """The archives that somebody waits for, of it and of those that need it."""
        return self._waiting_for(self.place.key)

    @property
    def is_base(self) -> bool:
        """Whether others that are under way cannot go on before it is there."""
        return self._is_base()


class Bringing:
    """Brings what is not staged. Leaves nothing behind when it fails, is cancelled, or starts over."""

    def __init__(
        self,
        cache: DiskCache,
        line: DiskLine,
        threads: StoreThreads,
        stager: Stager,
        clock: Clock,
        told: Callable[[Staging], None],
    ) -> None:
        self._cache = cache
        self._line = line
        self._threads = threads
        self._stager = stager
        self._clock = clock
        self._told = told

    async def bring(self, errand: Errand, version: str, borrowing: Borrowing) -> StagedArchive:
        """Fetch, unpack, lay out, adopt.

        Raises:
            InvalidArchive, UnsupportedModel, DiskFull, NotReady (nobody waits any more), StoreUnavailable.
            OriginChanged, StartOver, UnmetNeed: as their modules say.
        """
        watch = Stopwatch(self._clock)
        async with self._visit(errand) as visit:
            fetched = await self._fetch(errand, version, visit, watch)
            staged = await self._lay_out(errand, fetched, visit, watch, borrowing)
            archive = await self._adopt(errand, staged, visit)
        staging = watch.staging()
        self._told(staging)
        return replace(archive, staged_from=fetched.came_from, staging=staging)

    @asynccontextmanager
    async def lend(self, errand: Errand, borrowing: Borrowing) -> AsyncIterator[StagedArchive]:
        """Fetch and lay out for one borrower alone, never to be seen by another. Raises as `bring`."""
        watch = Stopwatch(self._clock)
        version = await errand.place.origin.version(errand.name)
        async with self._visit(errand) as visit:
            fetched = await self._fetch(errand, version, visit, watch)
            staged = await self._lay_out(errand, fetched, visit, watch, borrowing, is_private=True)
            self._told(watch.staging())
            yield staged

    @asynccontextmanager
    async def _visit(self, errand: Errand) -> AsyncIterator[Visit]:
        workspace = self._cache.new_workspace()
        with self._line.visit(errand, workspace) as visit:
            try:
                yield visit
            finally:
                await self._threads.transfer(self._cache.discard, workspace)

    async def _fetch(self, errand: Errand, version: str, visit: Visit, watch: Stopwatch) -> Fetched:
        """Room is taken for what is fetched, and at once for what is unpacked, as far as that is known."""
        origin, name, workspace = errand.place.origin, errand.name, visit.workspace
        fetch_bytes = origin.fetch_bytes(name, version)
        needed = max(errand.known_bytes, fetch_bytes + origin.unpacked_bytes(name, version))
        if not self._cache.could_hold(needed):
            needed = fetch_bytes  # the file itself tells whether that is true
        with watch.waiting():
            await self._line.take(visit, partial(self._cache.prepare, name, workspace, needed))
        with watch.fetching():
            path = await origin.fetch(name, version, workspace.fetched)
        watch.fetched(fetch_bytes)
        fetched = await self._threads.check(Fetched.at, path, name, version, workspace)
        errand.known_bytes = await self._threads.check(self._stager.needed_bytes, fetched, workspace)
        await self._reserve(errand, fetched, visit, watch)
        return fetched

    async def _reserve(self, errand: Errand, fetched: Fetched, visit: Visit, watch: Stopwatch) -> None:
        """Make room for what is unpacked. What does not fit at once is counted: who waits should know for what."""
        reserve = partial(self._cache.reserve, errand.name, visit.workspace)
        if errand.known_bytes <= visit.workspace.reserved_bytes:
            await self._threads.check(reserve, errand.known_bytes)
            return
        try:
            await self._line.take(visit, partial(reserve, errand.known_bytes), is_patient=False)
        except DiskFull:
            counted = await self._threads.transfer(self._stager.counted_bytes, fetched, errand.known_bytes)
            errand.known_bytes = min(errand.known_bytes, counted)
            with watch.waiting():
                await self._line.take(visit, partial(reserve, errand.known_bytes))

    async def _adopt(self, errand: Errand, staged: StagedArchive, visit: Visit) -> StagedArchive:
        adopt = partial(self._cache.adopt, errand.place.key, staged, visit.workspace)
        try:
            return await self._threads.transfer(adopt)  # its room is reserved, but for folders that are linked
        except DiskFull:
            return await self._line.take(visit, adopt)

    async def _lay_out(
        self,
        errand: Errand,
        fetched: Fetched,
        visit: Visit,
        watch: Stopwatch,
        borrowing: Borrowing,
        *,
        is_private: bool = False,
    ) -> StagedArchive:
        """Unpack and lay out; a folder that was read at the origin must not have changed meanwhile."""
        try:
            opened = await self._threads.transfer(self._stager.open, fetched, visit.workspace, watch)
            async with AsyncExitStack() as lent:
                loan = await self._borrow(errand, visit, opened, watch, borrowing, lent)
                stage = partial(self._stager.stage, is_private=is_private)
                staged = await self._threads.transfer(stage, fetched, opened, visit.workspace, watch, loan)
        except (InvalidArchive, UnsupportedModel):
            await _require_unchanged(errand, fetched)
            raise
        await _require_unchanged(errand, fetched)
        return staged

    async def _borrow(
        self,
        errand: Errand,
        visit: Visit,
        opened: Opened,
        watch: Stopwatch,
        borrowing: Borrowing,
        lent: AsyncExitStack,
    ) -> Loan:
        if not (opened.needs or opened.file_needs):
            return NOTHING_LENT
        borrower = Borrower(errand.place.key, errand.name, visit.workspace)
        lending = borrowing.lend(borrower, opened.needs, opened.file_needs)
        with watch.waiting(), self._line.awaiting_base(visit):
            return await lent.enter_async_context(lending)


async def _require_unchanged(errand: Errand, fetched: Fetched) -> None:
    is_shared_folder = not (fetched.is_ours or fetched.is_packed)
    if is_shared_folder and await errand.place.origin.version(errand.name) != fetched.version:
        raise OriginChanged(errand.name)
