"""The right of one request to use a resident archive. Nothing that is leased is evicted."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from server.domain.model import StagedArchive
from server.residency.records import ArchiveRecord
from server.residency.states import ArchiveState

RESIDENT: Final = "resident"


class Lease:
    """A counted use of `archive`; give it back with `release()`, or use it as a context manager.

    `warmth` is `resident`, `shared` (every step was loaded for other archives already), `disk` or `store`.
    `load_s` is how long the engine took to load the archive for this request (0 when it was resident), `waited_s` how
    long the caller waited in all. Both in seconds.

    If the engine dies the lease is void: using its steps raises EngineLost, and releasing it is harmless.
    """

    warmth: str = RESIDENT
    load_s: float = 0.0
    waited_s: float = 0.0

    def __init__(self, record: ArchiveRecord, give_back: Callable[[ArchiveRecord], None]) -> None:
        self.archive: StagedArchive = record.archive
        self._record: ArchiveRecord | None = record
        self._give_back = give_back

    @property
    def is_void(self) -> bool:
        """Whether the archive was lost with its engine since."""
        return self._record is not None and self._record.state is ArchiveState.ABSENT

    def release(self) -> None:
        """Give the lease back. Idempotent."""
        record, self._record = self._record, None
        if record is not None:
            self._give_back(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
