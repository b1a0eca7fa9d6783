"""Which steps' files are kept in host memory, and how many bytes that makes. Pure bookkeeping, no I/O.

A file (a hard link) may belong to several steps and counts once. What was kept or wanted longest ago leaves first; a
step that is larger than the whole budget is not kept, and nothing leaves for it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.model import StepDigest
from server.store.disk.ledger import FileId, StepFiles


@dataclass(frozen=True, slots=True)
class Change:
    """What came of a call: whether the step is kept, and what no kept step has any more."""

    is_kept: bool
    steps_left: tuple[StepDigest, ...] = ()
    files_left: frozenset[FileId] = frozenset()


class HostLedger:
    """Counts for what is kept now, within `budget_bytes`."""

    def __init__(self, budget_bytes: int = 0) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._steps: dict[StepDigest, StepFiles] = {}
        """The one that was kept or wanted longest ago stands first."""
        self._links: Counter[FileId] = Counter()

    def __contains__(self, digest: object) -> bool:
        return digest in self._steps

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[StepDigest]:
        return iter(self._steps)

    def keep(self, digest: StepDigest, files: StepFiles) -> Change:
        """Charge a step's files, after as many others left as that takes. Nothing changes where it cannot fit."""
        if digest in self._steps:
            self.touch(digest)
            return Change(is_kept=True)
        if sum(files.values()) > self.budget_bytes:
            return Change(is_kept=False)
        left: list[StepDigest] = []
        gone: set[FileId] = set()
        while self.used_bytes + self._extra(files) > self.budget_bytes:
            oldest = next(iter(self._steps))
            left.append(oldest)
            gone |= self.drop(oldest)
        for file, size in files.items():
            self.used_bytes += 0 if self._links[file] else size
            self._links[file] += 1
        self._steps[digest] = files
        return Change(is_kept=True, steps_left=tuple(left), files_left=frozenset(gone.difference(files)))

    def touch(self, digest: StepDigest) -> None:
        """The step is wanted: it leaves last. Unknown ones are ignored."""
        files = self._steps.pop(digest, None)
        if files is not None:
            self._steps[digest] = files

    def drop(self, digest: StepDigest) -> frozenset[FileId]:
        """Charge the step no more; returns the files that no other kept step has. Unknown ones are ignored."""
        gone: set[FileId] = set()
        for file, size in self._steps.pop(digest, {}).items():
            self._links[file] -= 1
            if not self._links[file]:
                del self._links[file]
                self.used_bytes -= size
                gone.add(file)
        return frozenset(gone)

    def resize(self, budget_bytes: int) -> Change:
        """Keep no more than so many bytes from now on."""
        self.budget_bytes = budget_bytes
        left: list[StepDigest] = []
        gone: set[FileId] = set()
        while self.used_bytes > budget_bytes:
            oldest = next(iter(self._steps))
            left.append(oldest)
            gone |= self.drop(oldest)
        return Change(is_kept=True, steps_left=tuple(left), files_left=frozenset(gone))

    def _extra(self, files: StepFiles) -> int:
        return sum(size for file, size in files.items() if not self._links[file])
