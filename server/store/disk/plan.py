"""What to throw off the disk. Pure: archives and sizes in, a decision out.

Dropping a record frees only what nothing else holds. Orphans (steps that no record holds) go first, then the records in
the order of their last use; what turned out not to be necessary is given back, the most recently used first.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from server.domain.model import StepDigest
from server.store.disk.ledger import FileId, Ledger, StepFiles


@dataclass(frozen=True, slots=True)
class Record:
    """An archive that is laid out on disk: its key in the cache, and its steps."""

    key: str
    steps: Collection[StepDigest]


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes, and how many bytes are in use afterwards; more than was allowed if nothing else may go."""

    drop: tuple[str, ...]
    delete: frozenset[StepDigest]
    remaining_bytes: int


def plan(
    ledger: Ledger,
    by_last_use: Iterable[Record],
    protected: Collection[StepDigest],
    allowed_bytes: int,
    arriving: Mapping[StepDigest, StepFiles] | None = None,
    leaving: Record | None = None,
) -> Plan:
    """Choose what to delete so that at most `allowed_bytes` stay, and no more than that takes.

    `by_last_use` gives the records, the least recently used first; it is looked at only where something must go. Steps
    in `protected` are never deleted; records whose steps are all protected are never dropped, since that would free
    nothing. `arriving` steps (protected as well) are about to be placed; the record `leaving` is about to be dropped.
    """
    shielded = frozenset(protected)
    trial = _Trial(ledger, shielded, arriving or {})
    if leaving is not None:
        trial.release(leaving)
    dropped: list[Record] = []
    for record in by_last_use if trial.used_bytes > allowed_bytes else ():
        if (leaving is None or record.key != leaving.key) and not shielded.issuperset(record.steps):
            trial.release(record)
            dropped.append(record)
            if trial.used_bytes <= allowed_bytes:
                break
    kept = _give_back(dropped, trial, allowed_bytes)
    drop = tuple(record.key for record in dropped if record.key not in kept)
    return Plan(drop, frozenset(trial.deleted), trial.used_bytes)


def _give_back(dropped: list[Record], trial: "_Trial", allowed_bytes: int) -> set[str]:
    """Hold again what fits after all: a small archive need not go because a large one went after it."""
    kept: set[str] = set()
    for record in reversed(dropped):
        trial.hold(record)
        if trial.used_bytes <= allowed_bytes:
            kept.add(record.key)
        else:
            trial.release(record)
    return kept


class _Trial:
    """The ledger as it would be; the ledger itself stays as it is."""

    def __init__(
        self, ledger: Ledger, shielded: frozenset[StepDigest], arriving: Mapping[StepDigest, StepFiles]
    ) -> None:
        self._ledger = ledger
        self._shielded = shielded
        self._released: Counter[StepDigest] = Counter()
        self._unlinked: Counter[FileId] = Counter()
        self.deleted: set[StepDigest] = set()
        self.used_bytes = ledger.used_bytes
        for files in arriving.values():
            self._link(files)
        for digest in ledger.orphans - shielded:
            self._delete(digest)

    def release(self, record: Record) -> None:
        for digest in set(record.steps):
            self._released[digest] += 1
            if self._ledger.holders[digest] == self._released[digest] and digest not in self._shielded:
                self._delete(digest)

    def hold(self, record: Record) -> None:
        for digest in set(record.steps):
            self._released[digest] -= 1
            if digest in self.deleted:
                self.deleted.remove(digest)
                self._link(self._ledger.steps[digest])

    def _delete(self, digest: StepDigest) -> None:
        if digest not in self._ledger.steps:
            return
        self.deleted.add(digest)
        for file, size in self._ledger.steps[digest].items():
            self._unlinked[file] += 1
            self.used_bytes -= size if self._ledger.links(file) == self._unlinked[file] else 0

    def _link(self, files: StepFiles) -> None:
        for file, size in files.items():
            self.used_bytes += size if self._ledger.links(file) == self._unlinked[file] else 0
            self._unlinked[file] -= 1
