"""Who holds which step, which step holds which file, and how many bytes that makes. Pure bookkeeping.

An archive's record holds its steps; a step may be held by several records, and a file (a hard link) by several steps.
Each file counts once. Kept up to date with every change, so that a decision need not look at everything.

Thousands of archives lie on the disk for each one in memory, so what is noted of a file is packed: 24 bytes instead of
a dictionary's 200.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from struct import Struct
from typing import Final, TypeAlias

from server.domain.model import StepDigest

FileId: TypeAlias = tuple[int, int]
"""Device and inode: hard links to one file are one file."""

StepFiles: TypeAlias = Mapping[FileId, int]
"""The files of a step with their sizes in bytes."""

_FILE: Final = Struct("=3Q")


class PackedSteps(Mapping[StepDigest, StepFiles]):
    """The files of each step; a mapping is made of them where somebody asks for one."""

    def __init__(self) -> None:
        self._packed: dict[StepDigest, bytes] = {}

    def __getitem__(self, digest: StepDigest) -> StepFiles:
        return {(device, inode): size for device, inode, size in _FILE.iter_unpack(self._packed[digest])}

    def __contains__(self, digest: object) -> bool:
        return digest in self._packed

    def __iter__(self) -> Iterator[StepDigest]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def put(self, digest: StepDigest, files: StepFiles) -> None:
        """From now on the step has these files."""
        self._packed[digest] = b"".join(_FILE.pack(*file, size) for file, size in files.items())

    def pop(self, digest: StepDigest) -> StepFiles:
        """From now on the step is unknown; returns the files that it had."""
        files = self.get(digest, {})
        self._packed.pop(digest, None)
        return files


class Ledger:
    """Counts for what is on the disk now."""

    def __init__(self) -> None:
        self.steps = PackedSteps()
        self.holders: Counter[StepDigest] = Counter()
        self._links: dict[int, int] = {}
        """By file: how many steps have it."""
        self.orphans: set[StepDigest] = set()
        self.used_bytes = 0

    def links(self, file: FileId) -> int:
        """How many steps have the file."""
        return self._links.get(_number(file), 0)

    def place(self, digest: StepDigest, files: StepFiles) -> None:
        """A step is on the disk now; it must not have been before."""
        self.steps.put(digest, files)
        for file, size in files.items():
            links = self.links(file)
            self.used_bytes += 0 if links else size
            self._links[_number(file)] = links + 1
        if not self.holders[digest]:
            self.orphans.add(digest)

    def remove(self, digest: StepDigest) -> None:
        """A step is on the disk no longer; unknown ones are ignored."""
        for file, size in self.steps.pop(digest).items():
            left = self.links(file) - 1
            if left:
                self._links[_number(file)] = left
            else:
                del self._links[_number(file)]
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


def _number(file: FileId) -> int:
    device, inode = file
    return device << 64 | inode
