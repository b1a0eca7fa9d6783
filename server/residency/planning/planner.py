"""What should be in memory: events in, commands out. No I/O, no clock, no await; time comes in as a number.

`handle(event)` applies the event's rule and then settles: everything that has become possible is done at once, so that
between two events nobody waits who need not. The two calls on the hot path, `lease` and `release`, are no events:
they count, and look up one dictionary.

A step (one loaded copy, shared by digest, counted by reference; charged in every state but `absent`):

               reserve            start            finish            unload              free
      absent ----------> planned -------> loading --------> resident -------> unloading ------> absent
                         |  ^  ^             |  |                |                |
                    free |  |  |    retry    |  | free (failed)  | free (lost)    |
                  absent <  |  +-------------+  > absent         > absent         |
                            +------------- retry (lost, but still wanted) --------+

An archive (one content of one name; `key` = name@version):

              admit             complete                 drain
      absent --------> loading ----------> resident ------------------> draining
                          |                 | |  ^         reprieve        | |
              drop (failed)       drop (evicted,|  +-----------------------+ |
                  absent <        lost) absent <|                            |
                                                | retire (replaced, deleted, | retire
                                                v unloaded, closed)          v
                                              retired <----------------------+
                                                | drop, when its leases are back
                                                > absent

While the engine is renewed (`renewal.py`) all that stays drains, and goes back to loading once it is new (recall).

The moves are the tables in `states.py`; a move that is not in them is a Bug. What the engine made of its orders is in
`outcomes.py`, waiters are in `waiting.py`, who gets room and who has to leave for it in `claims.py`.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from server.domain.errors import NotLoaded, NotReady, RoundhouseError
from server.domain.model import Device, StagedArchive, StepDigest
from server.residency.options import ResidencyOptions
from server.residency.planning import commands as c
from server.residency.planning import disk_room, foreseen, lent, outcomes, renewal, wishes
from server.residency.planning import events as e
from server.residency.planning.claims import settle_claims
from server.residency.planning.house import House
from server.residency.planning.ledger import fits
from server.residency.planning.records import RUN_WEIGHT, ArchiveRecord
from server.residency.planning.refusal import refused_as_too_large
from server.residency.planning.sizes import Predict
from server.residency.planning.states import ArchiveState, StepMove, StepState

ANY_MOMENT: Final = 1.0
"""Seconds after which to ask again when nothing better is known."""


class Planner:
    """Decides which archives are resident under `budgets` (bytes per device); see the module's drawing."""

    def __init__(self, budgets: Mapping[Device, int], predict: Predict, options: ResidencyOptions) -> None:
        self.house = House(budgets, predict, options)
        self._inventory = self.house.inventory
        self._waiting = self.house.waiting
        self._is_pressed = False
        self._is_settled = False

    # The hot path

    def lease(self, name: str, version: str | None, at: float) -> ArchiveRecord | None:
        """Count a lease if this content (`None`: any) is resident and may give one."""
        record = self._inventory.leasable.get(name)
        if record is None or (record.archive.version != version and version is not None):
            return None
        record.leases += 1
        record.uses += 1
        record.last_used = at
        record.age = self.house.policy.age
        return record

    def release(self, record: ArchiveRecord, at: float) -> bool:
        """Give a lease back. Returns whether somebody waits for that: then the event `Idle` is due."""
        record.leases -= 1
        if record.leases > record.quiet:
            return False
        record.run_s += RUN_WEIGHT * (at - record.last_used - record.run_s)
        record.last_used = at
        return self._is_pressed or record.departure != ""

    # Leases that are kept outside of this process (`lent.py`)

    def lend(self, archive: StagedArchive) -> ArchiveRecord | None:
        """Count a quiet lease if this content is resident and may give one."""
        return lent.lend(self.house, archive)

    def used(self, record: ArchiveRecord, uses: int, last_used: float, mean_run_s: float) -> None:
        """Count uses that a lent lease had."""
        lent.used(self.house, record, uses, last_used, mean_run_s)

    def rest(self, record: ArchiveRecord, *, is_quiet: bool) -> bool:
        """A lent lease is in use, or is not any more. Returns whether the event `Idle` is due."""
        return lent.rest(record, is_quiet=is_quiet) and (self._is_pressed or record.departure != "")

    def take_back(self, record: ArchiveRecord, *, was_quiet: bool) -> bool:
        """A lent lease is over. Returns whether the event `Idle` is due."""
        return lent.take_back(record, was_quiet=was_quiet) and (self._is_pressed or record.departure != "")

    # Events

    def handle(self, event: e.Event) -> list[c.Command]:
        """Apply one event. Returns what is to be done, in order. Raises Bug when the event cannot be."""
        self.house.at = event.at
        self._is_settled = False
        is_less_wanted = wishes.void_late_orders(self.house)
        RULES[type(event)](self, event)
        if is_less_wanted or not self._is_settled:
            self._settle()
        commands, self.house.commands = self.house.commands, []
        return commands

    def _wanted(self, event: e.Wanted) -> None:
        key = event.archive.key
        record = self._inventory.archives.get(key)
        failure = self.house.failures.recall(key, event.at)
        if event.is_use:
            self.house.asked.add(event.archive.name)
        if self.house.is_closed:
            self.house.refuse([event.waiter], NotReady(event.archive.name, ANY_MOMENT))
        elif record is not None and record.state is ArchiveState.RESIDENT:
            self.house.grant([event.waiter], record, "resident", is_use=event.is_use)
        elif failure is not None and self.house.renewal is None:
            self.house.serve_old_or_refuse([event.waiter], event.archive, failure)
        else:
            self._let_wait(event, record)

    def _let_wait(self, event: e.Wanted, record: ArchiveRecord | None) -> None:
        key, is_coming = event.archive.key, record is not None and record.state is ArchiveState.LOADING
        is_known = is_coming or key in self._waiting.queue
        was_urgent = self._waiting.is_urgent(key)
        self._waiting.join(event.waiter, event.archive, is_queued=not is_coming, is_patient=event.is_patient)
        is_urgent = self._waiting.is_urgent(key)
        if is_known:  # one more who waits for the same changes nothing, unless it makes it urgent
            self._is_settled = self._is_pressed and is_urgent == was_urgent
        elif record is not None or self.house.renewal is not None:
            return
        elif not refused_as_too_large(self.house, event.archive):
            is_behind = self._waiting.is_cut and not self._waiting.whole.has(key)
            self._is_settled = is_urgent and is_behind and not self._may_fit(event.archive)

    def _may_fit(self, archive: StagedArchive) -> bool:
        """Whether there is room for it now."""
        free = self._inventory.ledger.free()
        is_small = self._waiting.small.size(archive.key) <= max(free.values(), default=0)
        return is_small and fits(self._inventory.sizes.need(archive), free)

    def _gave_up(self, event: e.GaveUp) -> None:
        key = self._waiting.leave(event.waiter)
        if key is not None:
            wishes.unwanted(self.house, key)

    def _deleted(self, event: e.Deleted) -> None:
        self._retire(event.name, "deleted from the store")

    def _unwanted(self, event: e.Unwanted) -> None:
        records = self._inventory.named(event.name)
        self.house.tickets[event.ticket] = tuple(records)
        self._turn_away(NotLoaded, lambda name: name == event.name)
        self._retire(event.name, "unloaded on request")

    def _closed(self, event: e.Closed) -> None:
        self.house.is_closed = True
        self._turn_away(lambda name: NotReady(name, ANY_MOMENT), lambda _: True)
        for record in self._inventory.in_state(*ArchiveState):
            if event.is_forced:
                self.house.let_go(record, "closed")
            else:
                self._retire(record.archive.name, "closed")

    def _settled_by_itself(self, event: e.Idle) -> None:
        """Nothing but what settling does."""

    # What several rules share

    def _retire(self, name: str, why: str) -> None:
        for record in self._inventory.named(name):
            if record.state in {ArchiveState.RESIDENT, ArchiveState.DRAINING}:
                self._inventory.retire(record, why)

    def _turn_away(self, blame: Callable[[str], RoundhouseError], is_meant: Callable[[str], bool]) -> None:
        """Refuse everybody who waits for archives of these names, and stop loading them."""
        for archive in self._waiting.wanted():
            if is_meant(archive.name):
                self.house.refuse(self._waiting.dismiss(archive.key), blame(archive.name))
        for record in self._inventory.in_state(ArchiveState.LOADING):
            if is_meant(record.archive.name):
                self.house.drop(record)

    # Settling

    def _settle(self) -> None:
        while True:
            before = self._progress()
            if self.house.renewal is None:
                self._complete()
            self._reap()
            self._sweep(settle_claims(self.house) if self.house.renewal is None else ())
            if self.house.renewal is None:
                self._start()
            if before == self._progress():
                break
        renewal.restart_when_unused(self.house)
        self.house.answer_tickets()
        self._is_pressed = bool(self._waiting.has_urgent() or self._inventory.ledger.is_over or self._has_stalled())

    def _progress(self) -> tuple[int, int, int]:
        """Changes with everything that could make something else possible."""
        return len(self.house.commands), self._inventory.changes, self._inventory.admissions

    def _complete(self) -> None:
        """Archives whose steps are all resident are resident."""
        if not self._inventory.may_complete:
            return
        self._inventory.may_complete = False
        for record in self._inventory.in_state(ArchiveState.LOADING):
            if all(step.state is StepState.RESIDENT for step in record.steps):
                self.house.arrive(record)

    def _reap(self) -> None:
        """Retired archives depart with their last lease; steps that nobody came to load are forgotten."""
        for record in self._inventory.in_state(ArchiveState.RETIRED):
            if not record.leases:
                self.house.let_go(record, record.departure)
        for step in list(self._inventory.loose.values()):
            if step.state is StepState.PLANNED:
                self._inventory.move(step, StepMove.FREE)

    def _sweep(self, kept: Collection[StepDigest]) -> None:
        """Unload what nobody holds, callers before what they call."""
        for digest, step in list(self._inventory.loose.items()):
            is_wanted = digest in kept or self._inventory.is_called(digest) or step.references
            if step.state is StepState.RESIDENT and not is_wanted:
                self._inventory.move(step, StepMove.UNLOAD)
                self.house.commands.append(c.Unload(digest, step.last_holder))

    def _start(self) -> None:
        """Begin loads, those first that somebody waits for, in the order of admission, as many as is allowed."""
        is_full = self.house.options.max_parallel_loads <= self._inventory.loading
        steps = self._inventory.startable() if not is_full else ()
        for step in sorted(steps, key=lambda step: not self.house.is_awaited(step)):
            if self._inventory.loading >= self.house.options.max_parallel_loads:
                break
            self._inventory.start(step, self.house.at)
            self.house.commands.append(c.Load(step.step, step.losses))

    def _has_stalled(self) -> bool:
        return bool(self._inventory.stalled) and any(
            record.is_stalled for record in self._inventory.in_state(ArchiveState.LOADING)
        )


def _of_house(rule: Callable[[House, Any], None]) -> Callable[[Planner, Any], None]:
    return lambda planner, event: rule(planner.house, event)


HOUSE_RULES: Final = {**outcomes.RULES, **renewal.RULES, **wishes.RULES, **foreseen.RULES, **disk_room.RULES}
"""Rules in files of their own, which need the house alone."""
RULES: Final[Mapping[type[Any], Callable[[Planner, Any], None]]] = {
    e.Wanted: Planner._wanted,
    e.GaveUp: Planner._gave_up,
    e.Idle: Planner._settled_by_itself,
    e.Deleted: Planner._deleted,
    e.Unwanted: Planner._unwanted,
    e.Closed: Planner._closed,
    **{kind: _of_house(rule) for kind, rule in HOUSE_RULES.items()},
}
