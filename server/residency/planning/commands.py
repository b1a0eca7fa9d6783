"""What the planner asks for, and tells: the answers to its events (`events.py`). The driver carries them out."""

from dataclasses import dataclass
from typing import TypeAlias

from server.domain.errors import RoundhouseError
from server.domain.model import Step, StepDigest
from server.residency.planning.events import TicketId, WaiterId
from server.residency.planning.records import ArchiveRecord


@dataclass(frozen=True, slots=True)
class Load:
    """Ask the engine for the step; everything it calls is resident. `attempt` counts from 0 and asks for a pause."""

    step: Step
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Unload:
    """Ask the engine to free the step; nothing that is loaded calls it. `whose`: the archive that let it go last."""

    digest: StepDigest
    whose: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """The waiter holds a lease on `record` from now on (it is counted already)."""

    waiter: WaiterId
    record: ArchiveRecord
    warmth: str
    """`resident`, `shared` (every step was there for others), or how far it came: `host`, `disk`, `store`."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The waiter gets this error instead of a lease."""

    waiter: WaiterId
    error: RoundhouseError


@dataclass(frozen=True, slots=True)
class Arrived:
    """An archive became resident."""

    record: ArchiveRecord


@dataclass(frozen=True, slots=True)
class Departed:
    """A resident archive was let go; its memory follows step by step."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Broke:
    """An archive could not be loaded."""

    name: str
    error: RoundhouseError


@dataclass(frozen=True, slots=True)
class Gone:
    """What the ticket waited for is out of memory."""

    ticket: TicketId


@dataclass(frozen=True, slots=True)
class RenewEngine:
    """Restart the engine: no lease is out, and nothing is on its way."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A resident archive left with the engine that was renewed, and is loaded again."""

    record: ArchiveRecord


Command: TypeAlias = Load | Unload | Grant | Refuse | Arrived | Departed | Broke | Gone | RenewEngine | Recalled
