"""What stays on the disk although room is missing, and why. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from server.domain.model import StepDigest
from server.store.disk.ledger import FileId, Ledger, StepFiles


@dataclass(frozen=True, slots=True)
class ProtectedFiles:
    """Files by protected step, but for those that stay as long as whoever asks.

    `busy` steps were handed out a moment ago, or are borrowed for a staging; `passing_bytes` stay for that alone.
    """

    files: Mapping[StepDigest, StepFiles]
    busy: frozenset[StepDigest]
    passing_bytes: int


def protected_files(
    ledger: Ledger, retained: Collection[StepDigest], busy: Collection[StepDigest], lasting: Collection[StepDigest]
) -> ProtectedFiles:
    """`retained`: by residency; `busy`: handed out or borrowed by others; `lasting`: borrowed by whoever asks."""
    lent = frozenset(lasting)
    passing = frozenset(busy) - lent
    lasting_files = _files(ledger, lent)
    kept = _files(ledger, lent.union(retained))
    return ProtectedFiles(
        {
            digest: {file: size for file, size in ledger.steps.get(digest, {}).items() if file not in lasting_files}
            for digest in passing.union(retained) - lent
        },
        passing,
        sum(size for file, size in _files(ledger, passing).items() if file not in kept),
    )


def _files(ledger: Ledger, digests: Iterable[StepDigest]) -> dict[FileId, int]:
    return {file: size for digest in digests for file, size in ledger.steps.get(digest, {}).items()}
