"""A folder as a place where archives rest. Nothing is copied: tar files are read, folders linked, where they lie."""

import os
from pathlib import Path

from server.domain.errors import ArchiveNotFound, StoreUnavailable
from server.store import faults, local_files
from server.store.listing import archive_names
from server.store.names import canonical, spellings
from server.store.origin import OriginChanged
from server.store.threads import StoreThreads


class LocalFolder:
    """The archives below one folder: tar files, and folders with a Triton model repository.

    Links are followed only as long as they stay below `root`. Replace an archive by writing the new one beside it and
    renaming: a file that is overwritten in place may be read half old, half new (noticed, and read again).
    """

    def __init__(self, root: Path, threads: StoreThreads) -> None:
        self._root = root
        self._threads = threads

    async def version(self, name: str) -> str:
        """mtime, size and inode of a tar file; a hash over those of a folder's files (without inodes).

        Raises:
            ArchiveNotFound: nothing of that name, or it lies outside the root.
            InvalidArchive: a link inside the folder leads outside.
            StoreUnavailable: the root is gone (unmounted?) or cannot be read.
        """
        return await self._threads.check(self._version, canonical(name))

    def fetch_bytes(self, name: str, version: str) -> int:  # noqa: ARG002 -- the protocol's arguments
        """0: archives are used where they lie."""
        return 0

    def unpacked_bytes(self, name: str, version: str) -> int:  # noqa: ARG002 -- the protocol's arguments
        """0: nothing is written before the archive itself can be looked at."""
        return 0

    async def fetch(self, name: str, version: str, into: Path) -> Path:  # noqa: ARG002 -- the protocol's arguments
        """Hand out the archive's own path. Raises as `version`, and OriginChanged."""
        return await self._threads.check(self._locate_unchanged, canonical(name), version)

    async def names(self) -> list[str]:
        """Every tar file and every folder that is a Triton model repository. Raises StoreUnavailable."""
        return await self._threads.check(self._names)

    async def close(self) -> None:
        """Nothing is open."""

    def _version(self, name: str) -> str:
        path = self._locate(name)
        with faults.reading(name):
            return local_files.identity(path, self._root)

    def _locate_unchanged(self, name: str, version: str) -> Path:
        if self._version(name) != version:
            raise OriginChanged(name)
        return self._locate(name)

    def _locate(self, name: str) -> Path:
        with faults.reading(name):
            for spelling in spellings(name):
                path = self._root / spelling
                if path.is_file() or path.is_dir():  # and not a pipe or a device
                    if local_files.leads_out(path, self._root):
                        raise ArchiveNotFound(name)
                    return path
        self._require_root()
        raise ArchiveNotFound(name)

    def _require_root(self) -> None:
        """A store that is not mounted is not an empty store: its archives are not deleted."""
        if not self._root.is_dir():
            raise StoreUnavailable("the store's folder is not there; is it mounted?")

    def _names(self) -> list[str]:
        self._require_root()
        found: list[str] = []
        for folder, folders, names in os.walk(self._root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            relative = Path(folder).relative_to(self._root)
            found += [(relative / name).as_posix() for name in names]
        return archive_names(found)
