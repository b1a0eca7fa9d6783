"""What the planner knows about each step and each archive that is in memory, coming, or going."""

from typing import Final

from server.domain.cold_start import ColdStart
from server.domain.model import StagedArchive, Step
from server.residency.planning.ledger import Room
from server.residency.planning.states import ArchiveMove, ArchiveState, StepMove, StepState, archive_after, step_after
from server.residency.planning.terms import ORDINARY

UNPROVEN_AGE_S: Final = 3600.0
"""An archive that was loaded and never asked for counts as used so many seconds before: what is new must not push out
what is known to be used. (ModelMesh, `LASTUSED_AGE_ON_ADD_MS`.)"""
RUN_WEIGHT: Final = 0.2
"""How much of the mean run time the newest run is."""


class StepRecord:
    """One loaded copy of a step, however many archives share it."""

    __slots__ = (
        "began_at",
        "extra",
        "holders",
        "is_from_host",
        "is_void",
        "last_holder",
        "load_s",
        "losses",
        "out_of_memory",
        "references",
        "shared_bytes",
        "size_bytes",
        "state",
        "step",
    )

    def __init__(self, step: Step) -> None:
        self.step = step
        self.state = StepState.ABSENT
        self.references: set[str] = set()
        """Keys of the archives that were admitted with this step."""
        self.holders = 0
        """How many of them stay. At 0 the step's memory is on its way back."""
        self.last_holder = ""
        """The archive that let it go last, to which the time of its unload is counted."""
        self.losses = 0
        self.out_of_memory = 0
        self.extra: Room | None = None
        """After an out of memory: the room that has to be free before the load is tried again."""
        self.is_void = False
        """The engine died while it loaded this step, and has not answered yet."""
        self.is_from_host = False
        """Its files were kept in host memory when its last load began."""
        self.began_at = 0.0
        self.load_s = 0.0
        """How long its last load took."""
        self.size_bytes = 0
        """What it is charged with on all devices, since it was measured."""
        self.shared_bytes = 0
        """What of it stays when it goes, since other steps map the same files."""

    def move(self, move: StepMove) -> None:
        """Change the state by the table. Raises Bug."""
        self.state = step_after(self.state, move)


class ArchiveRecord:
    """One content of one archive, from its admission until it is gone. Leases point here."""

    __slots__ = (
        "_freed",
        "admission",
        "admitted_at",
        "age",
        "archive",
        "cold_start",
        "departure",
        "is_recalled",
        "is_shared",
        "last_used",
        "leases",
        "load_s",
        "patient_at",
        "patient_leases",
        "quiet",
        "resident_since",
        "run_s",
        "size_bytes",
        "state",
        "steps",
        "terms",
        "urgent_at",
        "uses",
    )

    def __init__(self, archive: StagedArchive, steps: tuple[StepRecord, ...], at: float, admission: int) -> None:
        self.archive = archive
        self.steps = steps
        self.state = ArchiveState.ABSENT
        self.leases = 0
        self.quiet = 0
        """Of the leases, those that are lent to somebody outside who does not use them just now (`lent.py`)."""
        self.admission = admission
        """Counts up: of two contents of one name, the higher one is newer."""
        self.admitted_at = at
        self.last_used = at
        self.load_s = 0.0
        self.cold_start: ColdStart | None = None
        """What becoming resident took, once it is."""
        self.resident_since = at
        self.size_bytes = 0
        """What its steps are charged with on all devices, shared ones included, since it is resident."""
        self.uses = 0
        """Leases since its admission. 0: it was loaded because somebody said so, and never asked for."""
        self.age = 0.0
        """The policy's age when the archive was last used; for policies that let frequency fade."""
        self.is_shared = False
        """Every step was resident for others when this archive was admitted."""
        self._freed: tuple[float, int] | None = None
        self.is_recalled = False
        """It was resident, its engine was renewed, and it is being loaded again."""
        self.departure = ""
        """Why it is leaving; empty while it stays."""
        self.terms = ORDINARY
        """What an operator says about it."""
        self.run_s = 0.0
        """How long its leases last, as a fading mean of those that ended with nobody beside them. 0: not known yet."""
        self.patient_at = 0.0
        """When it was last used by somebody who could have waited. 0: never."""
        self.urgent_at = 0.0
        """The last use before that by somebody who could not."""
        self.patient_leases = 0
        """Leases of those who could have waited."""

    def move(self, move: ArchiveMove) -> None:
        """Change the state by the table. Raises Bug."""
        self.state = archive_after(self.state, move)

    @property
    def recency(self) -> float:
        """When it was last used, as policies see it: an hour earlier where it never was."""
        return self.last_used if self.uses else self.last_used - UNPROVEN_AGE_S

    @property
    def urgently_used_at(self) -> float:
        """When it was last used by somebody who could not wait."""
        return self.urgent_at if self.last_used == self.patient_at else self.last_used

    @property
    def freed(self) -> tuple[float, int]:
        """Seconds to load again, and bytes, of the steps that no other archive holds; of all, where there are none."""
        if self._freed is None:
            own = [step for step in self.steps if step.holders <= 1]
            if not any(step.size_bytes for step in own):
                own = list(self.steps)
            freed_bytes = sum(max(0, step.size_bytes - step.shared_bytes) for step in own)
            self._freed = sum(step.load_s for step in own), freed_bytes
        return self._freed

    def sharing_changed(self) -> None:
        """Another archive began, or ceased, to hold one of the steps."""
        self._freed = None

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody uses it: there are no leases, or they come back when they are called."""
        return self.leases == self.quiet

    @property
    def is_leaving(self) -> bool:
        """Whether it gives no new leases until it is gone."""
        return self.state is ArchiveState.DRAINING or self.state is ArchiveState.RETIRED

    @property
    def is_stalled(self) -> bool:
        """Whether a step waits for more room than was predicted."""
        return any(step.extra is not None for step in self.steps)

    @property
    def warmth(self) -> str:
        """How far the content came for those who waited for it: the farthest way of any step loaded for it."""
        if self.is_shared:
            return "shared"
        if self.archive.staged_from != "disk":
            return self.archive.staged_from
        loaded = [step for step in self.steps if step.began_at + step.load_s >= self.admitted_at]
        return "host" if loaded and all(step.is_from_host for step in loaded) else "disk"
