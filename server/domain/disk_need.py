"""What the store asks of whoever retains steps, where their files leave no room on disk for an archive."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from server.domain.model import StepDigest


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """Room on disk is missing for an archive.

    `name`: the archive. `names`: it, and the archives that need it as their base. `missing_bytes`: how much has to
    leave. `files`: by protected step the sizes (bytes) of its files by device and inode, of those that would leave with
    their last step. `busy`: steps of these that stay for a moment, whoever lets go of them.
    """

    name: str
    names: Collection[str]
    missing_bytes: int
    files: Mapping[StepDigest, Mapping[tuple[int, int], int]]
    busy: Collection[StepDigest]


class DiskOutlook(Enum):
    """What is to be expected of the files that are retained."""

    COMING = "coming"
    """The room is on its way: enough steps are being let go."""
    MAYBE = "maybe"
    """It may come: what is in use, or new, or waits to be loaded, would free it once it leaves."""
    NEVER = "never"
    """What is pinned leaves too little."""


class DiskTenant(Protocol):
    """Who retains steps of the disk cache. Both methods are quick, and called on the event loop."""

    def is_wanted(self, names: Collection[str]) -> bool:
        """Whether anybody waits for one of these archives to be staged, as far as the tenant knows."""
        ...

    def make_room(self, need: DiskNeed) -> DiskOutlook:
        """Let go of what is least worth keeping, if that makes the room; then `ArchiveSource.retain` is called."""
        ...
