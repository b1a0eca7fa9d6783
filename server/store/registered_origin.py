"""A registered folder, seen as an origin with one archive."""

from pathlib import Path

from server.domain.errors import ArchiveNotFound
from server.store import faults, local_files
from server.store.origin import OriginChanged
from server.store.registered import Registered
from server.store.threads import StoreThreads


class RegisteredOrigin:
    """Implements `Origin` for the one archive that was loaded explicitly. Nothing is copied."""

    def __init__(self, registered: Registered, boundary: Path | None, threads: StoreThreads) -> None:
        self._registered = registered
        self._boundary = boundary or registered.folder
        self._threads = threads

    async def version(self, name: str) -> str:
        """As `LocalFolder.version`."""
        return await self._threads.check(self._version, name)

    def fetch_bytes(self, name: str, version: str) -> int:  # noqa: ARG002 -- the protocol's arguments
        """0: it is used where it lies."""
        return 0

    def unpacked_bytes(self, name: str, version: str) -> int:  # noqa: ARG002 -- the protocol's arguments
        """0: nothing is written before the archive itself can be looked at."""
        return 0

    async def fetch(self, name: str, version: str, into: Path) -> Path:  # noqa: ARG002 -- the protocol's arguments
        """The folder itself. Raises as `version`, and OriginChanged."""
        if await self.version(name) != version:
            raise OriginChanged(name)
        return self._registered.folder

    async def names(self) -> list[str]:
        """Its one name."""
        return [self._registered.name]

    async def close(self) -> None:
        """Nothing is open."""

    def _version(self, name: str) -> str:
        with faults.reading(name):
            if not self._registered.folder.exists():
                raise ArchiveNotFound(name)
            return local_files.identity(self._registered.folder, self._boundary)
