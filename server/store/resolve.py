"""`TargetModel` to staged archive: explicit loads first, then the origin; what is unchanged is not fetched again.

- A name that cannot be a name is not found. Registered ids and targets win over the origin.
- One flight per archive. A caller that is cancelled leaves; the work goes on and its result is kept.
- Same version as on disk: the very object that was handed out before. Another version: fetch, unpack, lay out; the old
  steps stay as long as residency retains them.
- No room on disk: the flight waits in line (`disk_line.py`), as long as anybody waits for it.
- Deleted in the origin: not found, and forgotten.
- Broken content is remembered by version: the next request raises at once, without a fetch, until the version changes.
  `current` is `None` for it. Whether the old content is served meanwhile is residency's to decide.
- Origin unreachable (or slower than `patience_s`) while an earlier version is staged: that version is served, stale,
  for up to `stale_limit_s` after it was last verified; the origin gets `retry_s` of rest before it is asked again about
  archives that are staged. After a restart the limit counts from the start.

`stage` says `staged_from="store"` only in the answer of the flight that fetched or unpacked; `current` and later calls
answer with one stable object that says "disk". So compare archives by `key`, not by identity, across those two.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from server.archive.staging import CompleteConfig
from server.archive.unpack import UnpackLimits
from server.domain.clock import Clock
from server.domain.cold_start import Staging
from server.domain.disk_need import DiskTenant
from server.domain.errors import ArchiveNotFound, InvalidArchive, StoreUnavailable, UnsupportedModel
from server.domain.model import StagedArchive, StepDigest
from server.store.borrowing import Borrowing, UnmetNeed
from server.store.bringing import Bringing, Errand, Place
from server.store.broken import BrokenVersions, ContentFault
from server.store.disk.cache import DiskCache
from server.store.disk.line import DiskLine, StartOver
from server.store.freshness import Freshness, StoreOptions
from server.store.names import canonical
from server.store.origin import Origin, OriginChanged
from server.store.registered import Registered, RegisteredFolders
from server.store.registered_origin import RegisteredOrigin
from server.store.single_flight import SingleFlight
from server.store.stager import ArchiveTools, Stager
from server.store.threads import StoreThreads

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
"""How often an archive that changes while it is fetched is tried before the caller is told to come back."""


class ArchiveStore:
    """Implements `domain.ports.ArchiveSource`. `start` it first; `close` it last. Lives on one event loop."""

    def __init__(
        self,
        origin: Origin | None,
        registered: RegisteredFolders,
        cache: DiskCache,
        threads: StoreThreads,
        clock: Clock,
        complete: CompleteConfig,
        options: StoreOptions | None = None,
        limits: UnpackLimits | None = None,
        tools: ArchiveTools | None = None,
        told: Callable[[Staging], None] = lambda _: None,
        *,
        sharing: bool = True,
    ) -> None:
        """`origin` is `None` where archives come from explicit loads only. The store closes `origin` and `threads`.

        `told` hears of every staging that moved something. Without `sharing` archives have no step in common.
        """
        self._origin = origin
        self._registered = registered
        self._cache = cache
        self._threads = threads
        self._clock = clock
        self._options = options or StoreOptions()
        stager = Stager(cache, complete, limits or UnpackLimits(), tools or ArchiveTools(), sharing=sharing)
        self._line = DiskLine(cache, threads)
        bring = self._base if sharing else self._private_base
        self._borrowing = Borrowing(cache, threads, bring, self._line.base_is_awaited, sharing=sharing)
        self._bringing = Bringing(cache, self._line, threads, stager, clock, told)
        self._callers: dict[str, Counter[str]] = {}
        """By key: the names under which it was asked for, by those who wait for it."""
        self._freshness = Freshness(clock, self._options)
        self._broken = BrokenVersions()
        self._flights: SingleFlight[str, StagedArchive] = SingleFlight()
        self._removals: SingleFlight[str, None] = SingleFlight()
        self._has_started = asyncio.Event()
        registered.on_removed(self._unregistered)

    async def start(self) -> None:
        """Open the disk cache; whoever wants something staged waits for that. Raises StoreUnavailable, DiskFull."""
        await self._threads.transfer(self._cache.open)
        self._has_started.set()

    async def close(self) -> None:
        """Cancel what is under way, wait for it, and end the threads. Idempotent."""
        if self._origin is not None:
            await self._origin.close()
        await self._flights.close()
        await self._removals.close()
        await self._threads.close()
        await asyncio.to_thread(self._cache.close)

    def current(self, name: str) -> StagedArchive | None:
        """The staged archive, if it was verified less than `refresh_s` ago. A few dictionary look-ups."""
        try:
            key = self._key(name)
        except ArchiveNotFound:
            return None
        archive = self._cache.get(key)
        if archive is None or key in self._broken or not self._freshness.is_fresh(key):
            return None
        if self._freshness.is_due_soon(key):
            self._stage_shared(self._place(name))
        self._cache.touch(key)
        return archive

    def claim(self, name: str) -> StagedArchive | None:
        """Like `current`, and its files stay for a moment, so that it can be loaded."""
        archive = self.current(name)
        return self._cache.claim(self._key(name)) if archive is not None else None

    async def stage(self, name: str) -> StagedArchive:
        """Verify, and fetch and unpack what is new. The module's docstring has the rules.

        Raises:
            ArchiveNotFound, InvalidArchive, UnsupportedModel, DiskFull, StoreUnavailable.
            NotReady: whoever called gave up while it waited for room on disk, and others called at that moment.
        """
        place = self._place(name)
        if self._freshness.is_fresh(place.key):
            self._broken.check(place.key)
        with self._calling(place.key, name):
            return await self._flights.join(self._stage_shared(place))

    async def names(self) -> list[str]:
        """Every archive that could be asked for, sorted. Raises StoreUnavailable."""
        found = {registered.name for registered in self._registered.list()}
        if self._origin is not None:
            found.update(await self._origin.names())
        return sorted(found)

    def retain(self, digests: Collection[StepDigest]) -> None:
        """Keep the files of these steps, whatever happens to their archives."""
        self._cache.retain(digests)
        self._line.wake()

    def share_disk_with(self, tenant: DiskTenant) -> None:
        """Ask `tenant`, who retains steps, for room where only those are in the way. Nobody: they stay."""
        self._line.tenant = tenant

    def _key(self, name: str) -> str:
        registered = self._registered.find(name)
        return registered.key if registered else f"store:{canonical(name)}"

    def _place(self, name: str) -> Place:
        registered = self._registered.find(name)
        if registered is not None:
            origin = RegisteredOrigin(registered, self._registered.load_root, self._threads)
            return Place(registered.key, registered.name, origin)
        return self._store_place(name)

    def _store_place(self, name: str) -> Place:
        if self._origin is None:
            raise ArchiveNotFound(name)
        return Place(f"store:{canonical(name)}", canonical(name), self._origin)

    def _stage_shared(self, place: Place) -> asyncio.Task[StagedArchive]:
        return self._flights.start(place.key, lambda: self._stage(place))

    async def _stage(self, place: Place) -> StagedArchive:
        await self._has_started.wait()
        if removal := self._removals.get(place.key):
            await asyncio.wait([removal])
        errand, attempts = self._errand(place), 0
        while attempts < _ATTEMPTS:
            try:
                return await self._stage_once(errand)
            except StartOver:
                continue
            except OriginChanged:
                attempts += 1
                errand.known_bytes = 0
        raise StoreUnavailable(f"archive {place.name!r} changes faster than it can be read; try again")

    async def _stage_once(self, errand: Errand) -> StagedArchive:
        place = errand.place
        known = await self._threads.check(self._cache.hand_out, place.key)
        version = await self._version(place, known)
        if known is not None and version in {None, known.version}:
            self._broken.forget(place.key)
            return known
        assert version is not None
        self._broken.check(place.key, version)
        try:
            staged = await self._bringing.bring(errand, version, self._borrowing)
        except UnmetNeed as error:
            raise InvalidArchive(str(error)) from error
        except (InvalidArchive, UnsupportedModel) as error:
            self._remember_broken(place, version, error)
            raise
        self._broken.forget(place.key)
        self._freshness.verified(place.key)
        return staged

    async def _version(self, place: Place, known: StagedArchive | None) -> str | None:
        """The origin's version now; `None` where the staged one is to be served without knowing."""
        may_be_stale = known is not None and self._freshness.may_be_stale(place.key)
        if may_be_stale and self._freshness.is_resting():
            self._freshness.unverified(place.key)
            return None
        try:
            async with asyncio.timeout(self._options.patience_s if may_be_stale else None):
                version = await place.origin.version(place.name)
        except ArchiveNotFound:
            await self._forget(place.key)
            raise
        except (StoreUnavailable, TimeoutError) as error:
            if not may_be_stale:
                raise
            self._freshness.origin_failed()
            self._freshness.unverified(place.key)
            _log.warning("archive %r is served unverified: %s", place.name, error or "the store is slow")
            return None
        self._freshness.verified(place.key)
        return version

    @asynccontextmanager
    async def _base(self, name: str) -> AsyncIterator[StagedArchive]:
        """An archive of the store whose steps another one needs, staged as if somebody had asked for it."""
        yield await self._flights.join(self._stage_shared(self._store_place(name)))

    @asynccontextmanager
    async def _private_base(self, name: str) -> AsyncIterator[StagedArchive]:
        """The same for one archive alone: fetched anew, and never seen by another."""
        async with self._bringing.lend(self._errand(self._store_place(name)), self._borrowing) as staged:
            yield staged

    def _errand(self, place: Place) -> Errand:
        is_base = partial(self._borrowing.is_awaited, place.key)
        return Errand(place, self._line.next_serial(), self._waiting_for, is_base)

    def _waiting_for(self, key: str) -> list[str]:
        """The names that callers gave who wait for this archive, or for one that needs it."""
        names = list(self._callers.get(key, ()))
        for borrower in self._borrowing.borrowers(key):
            names += self._waiting_for(borrower)
        return names

    @contextmanager
    def _calling(self, key: str, name: str) -> Iterator[None]:
        callers = self._callers.setdefault(key, Counter())
        callers[name] += 1
        try:
            yield
        finally:
            callers[name] -= 1
            if not callers[name]:
                del callers[name]
            if not callers:
                del self._callers[key]
                self._line.wake()

    def _remember_broken(self, place: Place, version: str, error: ContentFault) -> None:
        self._broken.remember(place.key, version, error)
        self._freshness.verified(place.key)
        _log.warning("archive %r version %s cannot be staged: %s", place.name, version, error)

    def _unregistered(self, registered: Registered) -> None:
        """Let go of a removed folder's files: its owner deletes them to free the disk, but our links hold them."""
        self._removals.start(registered.key, lambda: self._remove(registered.key))

    async def _remove(self, key: str) -> None:
        if flight := self._flights.get(key):
            await asyncio.wait([flight])
        await self._forget(key)

    async def _forget(self, key: str) -> None:
        self._freshness.forget(key)
        self._broken.forget(key)
        await self._threads.transfer(self._cache.forget, key)
