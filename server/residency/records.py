"""What the planner knows about each step and each archive that is in memory, coming, or going."""

from server.domain.model import StagedArchive, Step
from server.residency.ledger import Room
from server.residency.states import ArchiveMove, ArchiveState, StepMove, StepState, archive_after, step_after


class StepRecord:
    """One loaded copy of a step, however many archives share it."""

    __slots__ = ("extra", "holders", "is_void", "last_holder", "losses", "out_of_memory", "references", "state", "step")

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

    def move(self, move: StepMove) -> None:
        """Change the state by the table. Raises Bug."""
        self.state = step_after(self.state, move)


class ArchiveRecord:
    """One content of one archive, from its admission until it is gone. Leases point here."""

    __slots__ = (
        "admission",
        "admitted_at",
        "age",
        "archive",
        "departure",
        "is_shared",
        "last_used",
        "leases",
        "load_s",
        "size_bytes",
        "state",
        "steps",
        "uses",
    )

    def __init__(self, archive: StagedArchive, steps: tuple[StepRecord, ...], at: float, admission: int) -> None:
        self.archive = archive
        self.steps = steps
        self.state = ArchiveState.ABSENT
        self.leases = 0
        self.admission = admission
        """Counts up: of two contents of one name, the higher one is newer."""
        self.admitted_at = at
        self.last_used = at
        self.load_s = 0.0
        self.size_bytes = 0
        """What its steps are charged with on all devices, shared ones included, since it is resident."""
        self.uses = 0
        self.age = 0.0
        """The policy's age when the archive was last used; for policies that let frequency fade."""
        self.is_shared = False
        """Every step was resident for others when this archive was admitted."""
        self.departure = ""
        """Why it is leaving; empty while it stays."""

    def move(self, move: ArchiveMove) -> None:
        """Change the state by the table. Raises Bug."""
        self.state = archive_after(self.state, move)

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
        """How far the content came for those who waited for it."""
        return "shared" if self.is_shared else self.archive.staged_from
