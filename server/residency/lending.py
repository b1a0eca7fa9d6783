"""Leases for front-end workers: kept by them for many requests, and called back when the archive is to leave.

Nothing here knows processes or sockets (`server/workers/`). A loan is an ordinary lease for the planner, except that it
does not keep an archive from being chosen as a victim while nobody uses it (`planning/lent.py`). Use it on one event
loop.
"""

from collections.abc import Callable

from server.domain.clock import Clock
from server.domain.model import StagedArchive
from server.residency.driver import Driver
from server.residency.observer import ResidencyObserver
from server.residency.planning import events as e
from server.residency.planning.records import ArchiveRecord
from server.residency.planning.states import ArchiveState


class Loan:
    """One lease that somebody outside keeps. Give it back with `give_back()`, once nobody uses it any more."""

    def __init__(self, lending: "Lending", record: ArchiveRecord) -> None:
        self.archive: StagedArchive = record.archive
        self._lending = lending
        self._record: ArchiveRecord | None = record
        self._is_quiet = True

    @property
    def is_called_back(self) -> bool:
        """Whether it has to come back: the archive is to leave, was replaced, or went with its engine."""
        return self._record is None or self._record.state is not ArchiveState.RESIDENT

    def used(self, uses: int, ago_s: float, mean_run_s: float) -> None:
        """Tell of uses, the last of them so long ago, which took so long on the average."""
        if self._record is not None and uses:
            self._lending._used(self._record, uses, ago_s, mean_run_s)

    def rest(self, *, is_quiet: bool) -> None:
        """Tell whether it is in use."""
        if self._record is not None and is_quiet != self._is_quiet:
            self._is_quiet = is_quiet
            self._lending._rested(self._record, is_quiet=is_quiet)

    def give_back(self) -> None:
        """It is over. Idempotent."""
        record, self._record = self._record, None
        if record is not None:
            self._lending._taken_back(record, was_quiet=self._is_quiet)


class Lending:
    """Lends what is resident and up to date, and says when something may be called back."""

    def __init__(
        self,
        driver: Driver,
        current: Callable[[str], StagedArchive | None],
        clock: Clock,
        observer: ResidencyObserver,
    ) -> None:
        """`current`: as `ArchiveSource.current`."""
        self._driver = driver
        self._planner = driver.planner
        self._current = current
        self._now = clock.now
        self._observer = observer

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after everything that may have called a loan back."""
        self._driver.settled = listener

    def lend(self, name: str) -> Loan | None:
        """Lend the archive, if its current content is known and resident. That is no use of it yet."""
        archive = self._current(name)
        record = self._planner.lend(archive) if archive is not None else None
        return Loan(self, record) if record is not None else None

    def is_current(self, archive: StagedArchive) -> bool:
        """Whether this is the archive's content as it was verified lately. Keeps it verified, too."""
        current = self._current(archive.name)
        return current is not None and current.version == archive.version

    def _used(self, record: ArchiveRecord, uses: int, ago_s: float, mean_run_s: float) -> None:
        self._planner.used(record, uses, self._now() - ago_s, mean_run_s)
        for _ in range(uses):
            self._observer.hit(record.archive.name)

    def _rested(self, record: ArchiveRecord, *, is_quiet: bool) -> None:
        if self._planner.rest(record, is_quiet=is_quiet):
            self._driver.tell(e.Idle(self._now()))

    def _taken_back(self, record: ArchiveRecord, *, was_quiet: bool) -> None:
        if self._planner.take_back(record, was_quiet=was_quiet):
            self._driver.tell(e.Idle(self._now()))
