"""What is loaded, on whose word: SageMaker's LOAD, LIST, GET and UNLOAD, and KServe's repository of archives.

LOAD registers a folder under an id, and it stays registered until UNLOAD: when its memory is needed for others it is
evicted like any archive, and its next request brings it back. LIST and GET therefore tell what would be served, and
archives of the store that are resident are told beside it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.domain.errors import ArchiveNotFound, NotLoaded
from server.domain.model import StagedArchive
from server.domain.ports import ArchiveSource
from server.residency.planning.terms import Wish
from server.residency.residency import Residency
from server.serving.address import AddressBook
from server.store.registered import RegisteredFolders

PAGE: Final = 100
"""Default and most entries of a page of LIST, as in Multi Model Server."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A loaded model. `url` is what LOAD named; an archive of the store has its name there."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class IndexRow:
    """An archive, and whether it is in memory (`READY`) or not (`UNAVAILABLE`)."""

    name: str
    state: str
    reason: str


class ModelControl:
    """Loads and unloads by name. Lives on one event loop."""

    def __init__(
        self, residency: Residency, source: ArchiveSource, registered: RegisteredFolders, addresses: AddressBook
    ) -> None:
        self._residency = residency
        self._source = source
        self._registered = registered
        self._addresses = addresses
        self._loading: set[str] = set()

    async def load(self, id: str, url: str, target: str) -> None:  # noqa: A002 - SageMaker's word
        """Register a folder and make it resident; after an error it is as if it had never been named.

        Raises:
            AlreadyLoaded: the id or the target is loaded, or being loaded.
            ForbiddenPath, and all that `Residency.lease` raises.
        """
        model = self._registered.add(id, Path(url), target)
        self._loading.add(id)
        try:
            await self._residency.preload(model.name)
        except BaseException:
            self._registered.remove(id)
            raise
        finally:
            self._loading.discard(id)

    def page(self, limit: int | None, token: int | None) -> tuple[list[Entry], int | None]:
        """List loaded models by name, at most `limit` from position `token` on, and the next page's token."""
        entries = sorted(self._entries(), key=lambda entry: entry.id)
        start = token or 0
        end = start + min(limit or PAGE, PAGE)
        return entries[start:end], end if end < len(entries) else None

    def get(self, id: str) -> Entry:  # noqa: A002 - SageMaker's word
        """Describe one loaded model. Raises NotLoaded."""
        for entry in self._entries():
            if entry.id == id:
                return entry
        raise NotLoaded(id)

    async def unload(self, id: str) -> None:  # noqa: A002 - SageMaker's word
        """Forget a loaded model, let its requests finish, and return when its memory is free.

        An archive of the store is let go alike, but the next request for it brings it back. Raises NotLoaded.
        """
        name = self._addresses.by_name(self.get(id).id)
        if self._registered.find(id) is not None:
            self._registered.remove(id)
        await self._freed(name)

    async def preload(self, said: str) -> None:
        """Make an archive resident. Raises as `Residency.lease`."""
        await self._residency.preload(self._addresses.by_name(said))

    async def release(self, said: str) -> None:
        """Free an archive's memory, which may be free already. Raises ArchiveNotFound for names that nobody has."""
        name = self._addresses.by_name(said)
        if not await self._freed(name) and name not in await self._source.names():
            raise ArchiveNotFound(said)

    async def pin(self, said: str) -> None:
        """Make an archive resident, and keep it so. Raises as `Residency.lease`; then nothing is pinned."""
        name = self._addresses.by_name(said)
        self._residency.pin(name)
        try:
            await self._residency.preload(name)
        except BaseException:
            self._residency.unpin(name)
            raise

    def unpin(self, said: str) -> None:
        """Let an archive be evicted again."""
        self._residency.unpin(self._addresses.by_name(said))

    def say(self, said: str, wish: Wish) -> None:
        """Say which priority or time to live an archive has from now on, whether or not it is in memory."""
        self._residency.say(self._addresses.by_name(said), wish)

    async def staged(self, said: str, version: str = "") -> StagedArchive:
        """Fetch and check an archive without loading it. Raises ArchiveNotFound, InvalidArchive, DiskFull, ..."""
        name = self._addresses.by_version(said, version)
        return self._source.current(name) or await self._source.stage(name)

    async def index(self, is_ready_only: bool = False) -> list[IndexRow]:
        """List every archive that can be asked for, and what is resident besides."""
        resident = set(self.resident_names())
        names = resident if is_ready_only else resident | set(await self._source.names())
        return [
            IndexRow(name, "READY", "") if name in resident else IndexRow(name, "UNAVAILABLE", "not in memory")
            for name in sorted(names)
        ]

    def resident_names(self) -> list[str]:
        """Name the archives in memory."""
        return self._residency.resident_names()

    def _entries(self) -> list[Entry]:
        loaded = [model for model in self._registered.list() if model.id not in self._loading]
        names = {model.name for model in self._registered.list()}
        of_store = [Entry(name, name) for name in set(self.resident_names()) if name not in names]
        return [Entry(model.id, str(model.folder)) for model in loaded] + of_store

    async def _freed(self, name: str) -> bool:
        """Unload what may have been evicted already; say whether it was there."""
        try:
            await self._residency.unload(name)
        except NotLoaded:
            return False
        return True
