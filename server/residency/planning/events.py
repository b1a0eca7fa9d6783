"""What the planner is told. Every event carries its time, `at`: monotonic seconds. What it answers: `commands.py`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from server.domain.disk_need import DiskNeed
from server.domain.errors import RoundhouseError
from server.domain.model import Footprint, StagedArchive, StepDigest
from server.residency.planning.terms import Wish

WaiterId: TypeAlias = int
"""Names one caller who waits for a lease."""

TicketId: TypeAlias = int
"""Names one caller who waits for an archive to be gone."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A caller wants a lease on this content, and waits for it. `is_use`: to use it, not to have it loaded.

    `is_patient`: it can wait until there is room that nobody else wants, or has used a moment ago.
    """

    at: float
    waiter: WaiterId
    archive: StagedArchive
    is_use: bool = True
    is_patient: bool = False


@dataclass(frozen=True, slots=True)
class Ordered:
    """A caller wanted this content and could not wait so long: load it, if that disturbs nobody, before `until`."""

    at: float
    archive: StagedArchive
    until: float


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Nobody has asked for this content, but somebody may soon: load it if there is room that nobody needs."""

    at: float
    archive: StagedArchive


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The caller stopped waiting. Unknown waiters are ignored."""

    at: float
    waiter: WaiterId


@dataclass(frozen=True, slots=True)
class Idle:
    """The last lease of an archive was given back while somebody waits for room."""

    at: float


@dataclass(frozen=True, slots=True)
class StepLoaded:
    """The engine has the step; `measured` replaces the prediction."""

    at: float
    digest: StepDigest
    measured: Footprint
    is_from_host: bool = False
    """Its files were kept in host memory when the load began."""


@dataclass(frozen=True, slots=True)
class StepFailed:
    """The engine refused the step for good."""

    at: float
    digest: StepDigest
    error: RoundhouseError


@dataclass(frozen=True, slots=True)
class StepOutOfMemory:
    """The device had less room than the ledger thought; nothing of the step stayed in memory."""

    at: float
    digest: StepDigest
    said: str = ""
    """The words of the model or its runtime."""


@dataclass(frozen=True, slots=True)
class StepLost:
    """The engine died while it loaded the step."""

    at: float
    digest: StepDigest
    error: RoundhouseError


@dataclass(frozen=True, slots=True)
class StepUnloaded:
    """The step's memory is back."""

    at: float
    digest: StepDigest


@dataclass(frozen=True, slots=True)
class EngineDied:
    """These steps vanished from the engine."""

    at: float
    digests: Collection[StepDigest]


@dataclass(frozen=True, slots=True)
class Deleted:
    """The archive is no longer in the store: what is resident of it goes once its leases are back."""

    at: float
    name: str


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Somebody asked to unload the archive, and waits until its memory is back."""

    at: float
    ticket: TicketId
    name: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """Never choose this archive as a victim, now or when it is loaded."""

    at: float
    name: str


@dataclass(frozen=True, slots=True)
class Unpinned:
    """Take the pin back."""

    at: float
    name: str


@dataclass(frozen=True, slots=True)
class TermsSaid:
    """From now on this holds for the archive, beside what its other terms are."""

    at: float
    name: str
    wish: Wish


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Let go of what has been idle for longer than its time to live."""

    at: float


@dataclass(frozen=True, slots=True)
class DiskNeeded:
    """An archive cannot be staged beside the files of those that are in memory."""

    at: float
    need: DiskNeed


@dataclass(frozen=True, slots=True)
class RenewalWanted:
    """Restart the engine as soon as no lease is out, and load again what was there."""

    at: float


@dataclass(frozen=True, slots=True)
class RenewalCalledOff:
    """The leases do not come back in time: serve on with the engine that is there."""

    at: float


@dataclass(frozen=True, slots=True)
class EngineRenewed:
    """The engine was restarted as planned: it is empty."""

    at: float


@dataclass(frozen=True, slots=True)
class Closed:
    """Refuse whoever waits, and let everything go; with `is_forced`, without waiting for leases."""

    at: float
    is_forced: bool = False


Event: TypeAlias = (
    Wanted
    | Ordered
    | Foreseen
    | GaveUp
    | Idle
    | StepLoaded
    | StepFailed
    | StepOutOfMemory
    | StepLost
    | StepUnloaded
    | EngineDied
    | Deleted
    | Unwanted
    | Pinned
    | Unpinned
    | TermsSaid
    | TimePassed
    | DiskNeeded
    | RenewalWanted
    | RenewalCalledOff
    | EngineRenewed
    | Closed
)
