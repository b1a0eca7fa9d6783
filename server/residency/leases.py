"""The right of one request to use a resident archive. Nothing that is leased is evicted."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from server.domain.cold_start import ColdStart
from server.domain.model import StagedArchive
from server.residency.planning.records import ArchiveRecord
from server.residency.planning.states import ArchiveState

RESIDENT: Final = "resident"


class Lease:
    """A counted use of `archive`; give it back with `release()`, or use it as a context manager.

    `warmth` is `resident`, `shared` (every step was loaded for other archives already), `host` (the files of every step
    that was loaded were kept in host memory), `disk` or `store`.
    `load_s` is how long the engine took to load the archive for this request (0 when it was resident), `waited_s` how
    long the caller waited in all. Both in seconds. `cold_start` has the phases of what was waited for.

    If the engine dies the lease is void: using its steps raises EngineLost, and releasing it is harmless.
    """

    warmth: str = RESIDENT
    load_s: float = 0.0
    waited_s: float = 0.0
    cold_start: ColdStart | None = None

    def __init__(self, record: ArchiveRecord, give_back: Callable[[ArchiveRecord], None]) -> None:
        self.archive: StagedArchive = record.archive
        self._record: ArchiveRecord | None = record
        self._give_back = give_back

    @property
    def is_void(self) -> bool:
        """Whether the archive was lost with its engine since."""
        return self._record is not None and self._record.state is ArchiveState.ABSENT

    def be_patient(self, used_at: float) -> None:
        """Count this as a use that could have waited. `used_at`: the archive's last use that could not.

        Where somebody who could not wait has a lease too, perhaps granted in the same moment, that use counts.
        """
        give_back = self._give_back

        def give_back_patiently(record: ArchiveRecord) -> None:
            used_at = record.urgently_used_at
            record.patient_leases -= 1
            give_back(record)
            _was_patient(record, used_at)

        record = self._record
        if record is not None:
            record.patient_leases += 1
            _was_patient(record, used_at)
            self._give_back = give_back_patiently

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


def _was_patient(record: ArchiveRecord, used_at: float) -> None:
    """The last use could have waited, unless somebody who could not has a lease still."""
    if record.leases == record.patient_leases:
        record.urgent_at, record.patient_at = used_at, record.last_used
