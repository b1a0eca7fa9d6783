"""`TargetModel` to staged archive: explicit loads first, then the origin; what is unchanged is not fetched again.

- A name that cannot be a name is not found. Registered ids and targets win over the origin.
- One flight per archive. A caller that is cancelled leaves; the work goes on and its result is kept.
- Same version as on disk: the very object that was handed out before. Another version: fetch, unpack, lay out; the old
  steps stay as long as residency retains them.
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
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from server.archive.staging import CompleteConfig
from server.archive.unpack import UnpackLimits
from server.domain.clock import Clock
from server.domain.cold_start import Staging
from server.domain.errors import ArchiveNotFound, InvalidArchive, StoreUnavailable, UnsupportedModel
from server.domain.model import StagedArchive, StepDigest
from server.store.borrowing import Borrower, Borrowing, UnmetNeed
from server.store.broken import BrokenVersions, ContentFault
from server.store.disk_cache import DiskCache
from server.store.freshness import Freshness, StoreOptions
from server.store.names import canonical
from server.store.origin import Origin, OriginChanged
from server.store.registered import Registered, RegisteredFolders
from server.store.registered_origin import RegisteredOrigin
from server.store.single_flight import SingleFlight
from server.store.stager import ArchiveTools, Fetched, Stager
from server.store.stopwatch import Stopwatch
from server.store.threads import StoreThreads
from server.store.workspace import Workspace

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
"""How often an archive that changes while it is fetched is tried before the caller is told to come back."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a name leads: the archive's key in the cache, what it is called, and who has it."""

    key: str
    name: str
    origin: Origin


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
        self._stager = Stager(cache, complete, limits or UnpackLimits(), tools or ArchiveTools(), sharing=sharing)
        self._borrowing = Borrowing(cache, threads, self._base if sharing else self._private_base, sharing=sharing)
        self._told = told
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

    async def stage(self, name: str) -> StagedArchive:
        """Verify, and fetch and unpack what is new. The module's docstring has the rules.

        Raises:
            ArchiveNotFound, InvalidArchive, UnsupportedModel, DiskFull, StoreUnavailable.
        """
        place = self._place(name)
        if self._freshness.is_fresh(place.key):
            self._broken.check(place.key)
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

    def _key(self, name: str) -> str:
        registered = self._registered.find(name)
        return registered.key if registered else f"store:{canonical(name)}"

    def _place(self, name: str) -> _Place:
        registered = self._registered.find(name)
        if registered is not None:
            origin = RegisteredOrigin(registered, self._registered.load_root, self._threads)
            return _Place(registered.key, registered.name, origin)
        return self._store_place(name)

    def _store_place(self, name: str) -> _Place:
        if self._origin is None:
            raise ArchiveNotFound(name)
        return _Place(f"store:{canonical(name)}", canonical(name), self._origin)

    def _stage_shared(self, place: _Place) -> asyncio.Task[StagedArchive]:
        return self._flights.start(place.key, lambda: self._stage(place))

    async def _stage(self, place: _Place) -> StagedArchive:
        await self._has_started.wait()
        if removal := self._removals.get(place.key):
            await asyncio.wait([removal])
        for _ in range(_ATTEMPTS):
            try:
                return await self._stage_once(place)
            except OriginChanged:
                continue
        raise StoreUnavailable(f"archive {place.name!r} changes faster than it can be read; try again")

    async def _stage_once(self, place: _Place) -> StagedArchive:
        known = await self._threads.check(self._cache.hand_out, place.key)
        version = await self._version(place, known)
        if known is not None and version in {None, known.version}:
            self._broken.forget(place.key)
            return known
        assert version is not None
        self._broken.check(place.key, version)
        try:
            staged = await self._bring(place, version)
        except UnmetNeed as error:
            raise InvalidArchive(str(error)) from error
        except (InvalidArchive, UnsupportedModel) as error:
            self._remember_broken(place, version, error)
            raise
        self._broken.forget(place.key)
        self._freshness.verified(place.key)
        return staged

    async def _version(self, place: _Place, known: StagedArchive | None) -> str | None:
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

    async def _bring(self, place: _Place, version: str) -> StagedArchive:
        """Fetch, unpack, lay out, adopt. Leaves nothing behind when it fails or is cancelled."""
        watch = Stopwatch(self._clock)
        async with self._workspace() as workspace:
            fetched = await self._fetch(place, version, workspace, watch)
            staged = await self._lay_out(place, fetched, workspace, watch)
            archive = await self._threads.transfer(self._cache.adopt, place.key, staged, workspace)
        staging = watch.staging()
        self._told(staging)
        return replace(archive, staged_from=fetched.came_from, staging=staging)

    @asynccontextmanager
    async def _workspace(self) -> AsyncIterator[Workspace]:
        workspace = self._cache.new_workspace()
        try:
            yield workspace
        finally:
            await self._threads.transfer(self._cache.discard, workspace)

    @asynccontextmanager
    async def _base(self, name: str) -> AsyncIterator[StagedArchive]:
        """An archive of the store whose steps another one needs, staged as if somebody had asked for it."""
        yield await self._flights.join(self._stage_shared(self._store_place(name)))

    @asynccontextmanager
    async def _private_base(self, name: str) -> AsyncIterator[StagedArchive]:
        """The same for one archive alone: fetched anew, and never seen by another."""
        place, watch = self._store_place(name), Stopwatch(self._clock)
        version = await place.origin.version(name)
        async with self._workspace() as workspace:
            fetched = await self._fetch(place, version, workspace, watch)
            staged = await self._lay_out(place, fetched, workspace, watch, is_private=True)
            self._told(watch.staging())
            yield staged

    async def _fetch(self, place: _Place, version: str, workspace: Workspace, watch: Stopwatch) -> Fetched:
        expected_bytes = place.origin.fetch_bytes(place.name, version)
        await self._threads.transfer(self._cache.prepare, place.name, workspace, expected_bytes)
        with watch.fetching():
            path = await place.origin.fetch(place.name, version, workspace.fetched)
        watch.fetched(expected_bytes)
        return await self._threads.check(Fetched.at, path, place.name, version, workspace)

    async def _lay_out(
        self, place: _Place, fetched: Fetched, workspace: Workspace, watch: Stopwatch, *, is_private: bool = False
    ) -> StagedArchive:
        """Unpack and lay out; a folder that was read at the origin must not have changed meanwhile."""
        try:
            opened = await self._threads.transfer(self._stager.open, fetched, workspace, watch)
            async with AsyncExitStack() as lent:
                with watch.waiting():
                    lending = self._borrowing.steps(Borrower(place.key, place.name), opened.needs)
                    borrowed = await lent.enter_async_context(lending)
                stage = partial(self._stager.stage, is_private=is_private)
                staged = await self._threads.transfer(stage, fetched, opened.root, workspace, watch, borrowed)
        except (InvalidArchive, UnsupportedModel):
            await self._require_unchanged(place, fetched)
            raise
        await self._require_unchanged(place, fetched)
        return staged

    async def _require_unchanged(self, place: _Place, fetched: Fetched) -> None:
        is_shared_folder = not (fetched.is_ours or fetched.is_packed)
        if is_shared_folder and await place.origin.version(place.name) != fetched.version:
            raise OriginChanged(place.name)

    def _remember_broken(self, place: _Place, version: str, error: ContentFault) -> None:
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
