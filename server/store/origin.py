"""What the store asks of a place where archives rest. `local.py` and `s3.py` are such places."""

from pathlib import Path
from typing import Protocol


class OriginChanged(Exception):
    """The content is no longer the version that was asked for. Never leaves this package: the store asks again."""


class Origin(Protocol):
    """A place with archives. Names are canonical (`names.canonical`). Methods may be called side by side."""

    async def version(self, name: str) -> str:
        """A cheap identity of the archive's content now: it changes when the content does.

        Raises:
            ArchiveNotFound, StoreUnavailable.
        """
        ...

    def fetch_bytes(self, name: str, version: str) -> int:
        """How much `fetch` will write, as far as it is known; 0 where it hands out what already lies on disk."""
        ...

    def unpacked_bytes(self, name: str, version: str) -> int:
        """To how much, at least, what `fetch` writes will be unpacked beside it; 0 where it is not, or not known."""
        ...

    async def fetch(self, name: str, version: str, into: Path) -> Path:
        """Bring the archive to local disk: a tar file or a folder, either inside `into` or the origin's own.

        `into` exists and is empty. What lies outside `into` afterwards belongs to the origin and is only read.

        Raises:
            OriginChanged: the content is another version by now.
            ArchiveNotFound, StoreUnavailable, DiskFull.
        """
        ...

    async def names(self) -> list[str]:
        """Every archive, sorted. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Stop transfers that are under way. Idempotent."""
        ...
