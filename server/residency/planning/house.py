"""The planner's whole state, and the few actions that its rules share: grant, refuse, break, let go.

Every action writes the commands it causes into `commands`, in order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from server.domain.errors import RoundhouseError
from server.domain.model import Device, StagedArchive
from server.residency.options import ResidencyOptions
from server.residency.planning.commands import Arrived, Broke, Command, Departed, Gone, Grant, Refuse
from server.residency.planning.decisions import Considered, Decision, Decisions
from server.residency.planning.events import TicketId, WaiterId
from server.residency.planning.failures import FailureMemory
from server.residency.planning.inventory import Inventory
from server.residency.planning.last_names import LastNames
from server.residency.planning.ledger import Room
from server.residency.planning.policies.table import POLICIES
from server.residency.planning.records import ArchiveRecord, StepRecord
from server.residency.planning.sizes import Predict
from server.residency.planning.states import ArchiveState, RenewalPhase, StepState
from server.residency.planning.terms import TermsBook
from server.residency.planning.waiting import WaitingRoom

MOST_CONSIDERED = 12
MOST_ASKED = 20_000
"""Names that are remembered to have been asked for. Of others an archive counts as never used once it is loaded."""


class House:
    """Who is in, who waits, who is pinned, what failed, and why others left."""

    def __init__(self, budgets: Mapping[Device, int], predict: Predict, options: ResidencyOptions) -> None:
        self.options = options
        self.inventory = Inventory(budgets, predict)
        self.policy = POLICIES[options.policy]()
        self.pins: set[str] = set()
        self.terms = TermsBook(replace(options.tariff, time_to_live_s=options.time_to_live_s))
        self.waiting = WaitingRoom(
            self.inventory.is_held, self._quota_group_of, self.inventory.sizes.largest_share, options.rush_from
        )
        self.inventory.on_held = self.waiting.held
        self.overdrawn: set[str] = set()
        """Groups that a measurement may have brought over their quota."""
        self.asked = LastNames(MOST_ASKED)
        """Names that somebody asked for in order to use them, as opposed to having them loaded."""
        self.failures = FailureMemory(options.failure_ttl_s)
        self.decisions = Decisions(options.decisions_kept)
        self.tickets: dict[TicketId, tuple[ArchiveRecord, ...]] = {}
        self.commands: list[Command] = []
        self.at = 0.0
        self.is_closed = False
        self.renewal: RenewalPhase | None = None
        """A planned restart of the engine: until it is over nothing is leased or loaded."""

    def knows(self, name: str) -> bool:
        """Whether anything of this name is in memory, coming, going, or waited for."""
        return bool(self.inventory.named(name) or self.waiting.named(name))

    def can_lease(self, name: str) -> bool:
        """Whether some content of this name gives leases."""
        return name in self.inventory.leasable

    # Order

    def value_of(self, record: ArchiveRecord) -> float:
        """What the policy thinks the archive is worth."""
        return self.policy.value(record)

    def in_order(self, records: Iterable[ArchiveRecord]) -> Iterator[ArchiveRecord]:
        """By the policy, least valuable first. Lazy."""
        return self.policy.order(records)

    @property
    def guarded_from(self) -> float:
        """Archives that came later than that are so new that others should leave first."""
        return self.at - self.options.churn_guard_s

    @property
    def spared_from(self) -> float:
        """What urgent requests used later than that does not leave for those who can wait."""
        return self.at - self.options.spare_s

    def is_awaited(self, step: StepRecord) -> bool:
        """Whether anybody waits for it: not so where it comes back after a renewal, or who wanted it gave up."""
        return any(self.waiting.is_awaited(key) for key in step.references)

    def is_pinned(self, record: ArchiveRecord) -> bool:
        """Whether the archive may not be chosen as a victim."""
        return record.terms.is_pinned or record.archive.name in self.pins

    # Waiters

    def touch(self, record: ArchiveRecord, *, is_use: bool = True) -> None:
        """Count one more lease on a resident archive."""
        record.leases += 1
        record.uses += is_use
        record.last_used = self.at
        record.age = self.policy.age

    def grant(self, waiters: Iterable[WaiterId], record: ArchiveRecord, warmth: str, *, is_use: bool = True) -> None:
        """Lease the archive to each of the waiters."""
        for waiter in waiters:
            self.touch(record, is_use=is_use)
            self.commands.append(Grant(waiter, record, warmth))

    def refuse(self, waiters: Iterable[WaiterId], error: RoundhouseError) -> None:
        """Tell each of the waiters why there is no lease."""
        self.commands.extend(Refuse(waiter, error) for waiter in waiters)

    def serve_old_or_refuse(self, waiters: Sequence[WaiterId], archive: StagedArchive, error: RoundhouseError) -> None:
        """Content that does not load leaves the content before it serving, where there is one."""
        old = self.inventory.leasable.get(archive.name)
        returning = self.returning(archive.name)
        if old is not None:
            self.grant(waiters, old, "resident")
        elif returning is not None:
            for waiter in waiters:
                self.waiting.join(waiter, returning.archive, is_queued=returning.is_leaving)
        else:
            self.refuse(waiters, error)

    def returning(self, name: str) -> ArchiveRecord | None:
        """The content of this name that gives no lease just now, but will once the engine is renewed."""
        states = [ArchiveState.DRAINING] if self.renewal else []
        found = (each for each in self.inventory.named(name) if each.is_recalled or each.state in states)
        return max(found, key=lambda record: record.admission, default=None)

    def drop(self, record: ArchiveRecord) -> None:
        """An archive that is being loaded is given up."""
        if record.is_recalled:
            self.policy.departed(record)
        self.inventory.drop(record)

    # Archives

    def arrive(self, record: ArchiveRecord) -> None:
        """Every step is resident: grant the waiters, and retire the content that this one replaces."""
        self.inventory.complete(record, self.at)
        self.commands.append(Arrived(record))
        is_use = self._is_asked_for(record.archive.name)
        self.grant(self.waiting.dismiss(record.archive.key), record, record.warmth, is_use=is_use)
        record.uses = max(record.uses, int(is_use))  # who asked may have given up meanwhile
        self.policy.arrived(record)
        self.decisions.came_back(record.archive, self.at, record.load_s, self._last_used)
        current = self.inventory.leasable[record.archive.name]
        for other in self.inventory.named(record.archive.name):
            if other is not current and other.state in {ArchiveState.RESIDENT, ArchiveState.DRAINING}:
                self.inventory.retire(other, "replaced by new content")

    def fail(self, record: ArchiveRecord, error: RoundhouseError) -> None:
        """The archive will not be loaded: its waiters learn why, and its other steps are let go."""
        self.drop(record)
        self.failures.remember(record.archive, error, self.at)
        self.commands.append(Broke(record.archive.name, error))
        self.serve_old_or_refuse(self.waiting.dismiss(record.archive.key), record.archive, error)

    def fail_sharers(self, step: StepRecord, blame: Callable[[ArchiveRecord], RoundhouseError]) -> None:
        """The step will not be loaded, and so no archive that is loading with it."""
        for record in self.inventory.sharers(step):
            if record.state is ArchiveState.LOADING:
                self.fail(record, blame(record))

    def let_go(self, record: ArchiveRecord, reason: str, choice: "Reasons | None" = None) -> None:
        """A resident archive without leases (or without an engine) departs; why is kept on record."""
        reasons = choice or Reasons()
        if record.uses:
            self.asked.add(record.archive.name)
        self.decisions.add(
            Decision(
                at=self.at,
                name=record.archive.name,
                version=record.archive.version,
                reason=reason,
                for_whom=reasons.for_whom,
                needed=tuple(sorted(reasons.needed.items())),
                size_bytes=record.size_bytes,
                last_used=record.last_used,
                uses=record.uses,
                judgement=self.policy.explain(record, self.at),
                considered=reasons.considered,
                load_s=_thrown_away_s(record),
            )
        )
        if choice is not None:
            self.policy.evicted(record)
        self.policy.departed(record)
        self.commands.append(Departed(record.archive.name, reason))
        self.inventory.drop(record)

    def consider(self, candidates: Sequence[ArchiveRecord], victims: Sequence[ArchiveRecord]) -> tuple[Considered, ...]:
        """How the policy saw the first candidates, and every pinned archive's exemption, for the record."""
        chosen = {victim.archive.key for victim in victims}
        leasable = self.inventory.leasable
        exempt = [leasable[name] for name in sorted(self.pins) if name in leasable]
        return tuple(
            Considered(
                name=record.archive.name,
                version=record.archive.version,
                value=self.value_of(record),
                last_used=record.last_used,
                size_bytes=record.size_bytes,
                leases=record.leases,
                is_pinned=self.is_pinned(record),
                is_guarded=record.resident_since > self.guarded_from,
                is_victim=record.archive.key in chosen,
            )
            for record in [*candidates[:MOST_CONSIDERED], *exempt[:MOST_CONSIDERED]]
        )

    def answer_tickets(self) -> None:
        """Tell those who wait for an archive to be gone once its memory is back, or kept by others."""
        for ticket, records in list(self.tickets.items()):
            if all(self._is_gone(record) for record in records):
                del self.tickets[ticket]
                self.commands.append(Gone(ticket))

    def _quota_group_of(self, name: str) -> str:
        """The archive's group, where that has a quota."""
        group = self.terms.of(name).group
        return group if self.terms.limits(group, self.inventory.ledger.budgets) is not None else ""

    def _last_used(self, name: str) -> float | None:
        record = self.inventory.leasable.get(name)
        return record.last_used if record is not None else None

    def _is_asked_for(self, name: str) -> bool:
        return name in self.asked or any(record.uses for record in self.inventory.named(name))

    def _is_gone(self, record: ArchiveRecord) -> bool:
        return record.state is ArchiveState.ABSENT and all(
            step.state is StepState.ABSENT or step.holders for step in record.steps
        )


def _thrown_away_s(record: ArchiveRecord) -> float:
    """Seconds of loading that go with an archive: of the steps that nobody else holds."""
    own_holders = 0 if record.is_leaving else 1
    return sum(step.load_s for step in record.steps if step.holders <= own_holders)


class Reasons:
    """For whom a victim was chosen, how much was missing, and what else was considered."""

    __slots__ = ("considered", "for_whom", "needed")

    def __init__(self, for_whom: str = "", needed: Room | None = None, considered: tuple[Considered, ...] = ()) -> None:
        self.for_whom = for_whom
        self.needed: Room = needed or {}
        self.considered = considered
