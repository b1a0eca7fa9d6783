"""A second opinion on what the planner decides: its own books, and sums over sets of steps.

What a set of steps takes is computed from scratch each time, so that shared steps and shared files cannot be counted
twice or forgotten.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from server.domain.model import Footprint, StagedArchive, Step, StepDigest
from server.residency.options import ResidencyOptions
from tests.property.planner_universe import PREDICTED, add, difference, digests, together

NEVER_USED_S = 3600.0


@dataclass
class Lease:
    record: object
    key: str
    is_void: bool = False
    is_lent: bool = False
    """Kept outside, and called back when the archive is to leave; while it is quiet nobody uses it."""
    is_quiet: bool = False


@dataclass
class Books:
    """What is known of the planner under test, from its commands alone wherever possible."""

    planner: object
    options: ResidencyOptions
    budgets: dict[str, int]
    now: float = 1000.0
    engine: dict[StepDigest, str] = field(default_factory=dict)
    footprints: dict[StepDigest, Footprint] = field(default_factory=dict)
    steps: dict[StepDigest, Step] = field(default_factory=dict)
    residents: dict[str, StagedArchive] = field(default_factory=dict)
    last_used: dict[str, tuple[float, int]] = field(default_factory=dict)
    arrived: dict[str, tuple[float, object]] = field(default_factory=dict)
    """By key: when, and its record."""
    leases: list[Lease] = field(default_factory=list)
    waiters: dict[int, StagedArchive] = field(default_factory=dict)
    tickets: set[int] = field(default_factory=set)
    pins: set[str] = field(default_factory=set)
    failed_until: dict[str, float] = field(default_factory=dict)
    out_of_memory: Counter = field(default_factory=Counter)
    seen_decisions: int = 0
    tidied: set[StepDigest] = field(default_factory=set)
    """Steps whose load ended after the engine had died under it: they are unloaded, to be sure, and loaded anew."""
    is_overdrawn: bool = False
    is_failing: bool = False
    is_broken: bool = False
    ids: int = 0

    # Reading the planner (its own books; never trusted without a check from outside)

    @property
    def inventory(self):
        return self.planner.house.inventory

    def in_state(self, *names: str) -> list[str]:
        return [key for key, record in self.inventory.archives.items() if str(record.state) in names]

    def new_id(self) -> int:
        self.ids += 1
        return self.ids

    # Order

    def _is_guarded(self, key: str) -> bool:
        return self.now - self.arrived[key][0] < self.options.churn_guard_s

    def _recency(self, key: str) -> tuple[float, int]:
        """When it was last used; an hour earlier if nobody ever did. Of equals, the older one leaves first."""
        at, admission = self.last_used[key]
        return at - (0.0 if self.arrived[key][1].uses else NEVER_USED_S), admission

    def _may_leave(self, held: StagedArchive, wanted: StagedArchive) -> bool:
        return held.name not in self.pins or held.name == wanted.name

    # Sums

    def charge(self, steps: Iterable[StepDigest]) -> dict[str, int]:
        """What the steps take together."""
        return together(self.footprints.get(digest) or PREDICTED[digest] for digest in steps)

    def missing(self, wanted: StagedArchive) -> tuple[dict[str, int], set[StepDigest], set[StepDigest]]:
        """What `wanted` lacks when everybody before it in the queue has taken theirs.

        And which steps must stay for it; and which will be there then, its own included.
        """
        held = self._held(self.residents)
        there = set(held)
        kept: set[StepDigest] = set()
        beyond_reach: set[StepDigest] = set()
        is_first = True
        for entry in self.planner.house.waiting.queue.values():
            need = difference(self.charge(there | digests(entry)), self.charge(there))
            there |= digests(entry)
            free = difference_below(self.budgets, self.charge(there))
            short = {device: -free[device] for device in sorted(need) if free[device] < 0}
            if entry.key == wanted.key:
                return short, kept | digests(entry), there
            if is_first or not (short or digests(entry) & beyond_reach):
                kept |= digests(entry)
            else:
                beyond_reach |= digests(entry) - held
            is_first = False
        raise AssertionError("room is made for somebody who does not wait")

    def freed(self, victims: Collection[str], kept: set[StepDigest], there: set[StepDigest]) -> dict[str, int]:
        """What comes back when the victims go; `there` is what would be there without that."""
        stay = self._held(key for key in self.residents if key not in victims)
        gone = {digest for victim in victims for digest in digests(self.residents[victim])} - stay - kept
        return difference(self.charge(there), self.charge(there - gone))

    def may_fit(self, wanted: StagedArchive) -> bool:
        """Whether the archive fits beside everything that is pinned."""
        pinned = [held for held in self.residents.values() if held.name in self.pins - {wanted.name}]
        total = self.charge(digests(wanted).union(*map(digests, pinned)))
        return all(total.get(device, 0) <= budget for device, budget in self.budgets.items())

    def free(self) -> dict[str, int]:
        """By the ledger, whose sum is checked after every event."""
        charged = self.inventory.ledger.charged()
        return {device: budget - charged[device] for device, budget in self.budgets.items()}

    def _held(self, residents: Iterable[str]) -> set[StepDigest]:
        loading = [self.inventory.archives[key].archive for key in self.in_state("loading")]
        return {digest for held in [*loading, *(self.residents[key] for key in residents)] for digest in digests(held)}


def difference_below(budgets: dict[str, int], charged: dict[str, int]) -> dict[str, int]:
    free = dict(budgets)
    add(free, {device: amount for device, amount in charged.items() if device in free}, -1)
    return free
