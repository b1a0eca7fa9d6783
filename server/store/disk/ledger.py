"""Who holds which step, which step holds which file, and how many bytes that makes. Pure bookkeeping.

An archive's record holds its steps; a step may be held by several records, and a file (a hard link) by several steps.
Each file counts once. Kept up to date with every change, so that a decision need not look at everything.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TypeAlias

from server.domain.model import StepDigest

FileId: TypeAlias = tuple[int, int]
"""Device and inode: hard links to one file are one file."""

StepFiles: TypeAlias = Mapping[FileId, int]
"""The files of a step with their sizes in bytes."""


class Ledger:
    """Counts for what is on the disk now."""

    def __init__(self) -> None:
        self.steps: dict[StepDigest, StepFiles] = {}
        self.holders: Counter[StepDigest] = Counter()
        self.links: Counter[FileId] = Counter()
        self.orphans: set[StepDigest] = set()
        self.used_bytes = 0

    def place(self, digest: StepDigest, files: StepFiles) -> None:
        """A step is on the disk now; it must not have been before."""
        self.steps[digest] = files
        for file, size in files.items():
            self.used_bytes += 0 if self.links[file] else size
            self.links[file] += 1
        if not self.holders[digest]:
            self.orphans.add(digest)

    def remove(self, digest: StepDigest) -> None:
        """A step is on the disk no longer; unknown ones are ignored."""
        for file, size in self.steps.pop(digest, {}).items():
            self.links[file] -= 1
            if not self.links[file]:
                del self.links[file]
                self.used_bytes -= size
        self.orphans.discard(digest)

    def hold(self, steps: Collection[StepDigest]) -> None:
        """A record holds these steps."""
        self.holders.update(set(steps))
        self.orphans.difference_update(steps)

    def release(self, steps: Collection[StepDigest]) -> None:
        """A record holds them no longer."""
        for digest in set(steps):
            self.holders[digest] -= 1
            if not self.holders[digest]:
                del self.holders[digest]
                if digest in self.steps:
                    self.orphans.add(digest)
