"""A planned restart of the engine, as rules of the planner: nobody fails, everything that was resident comes back.

    serving --(RenewalWanted)--> draining --(nothing leased, nothing on its way)--> restarting
       ^                            |                                                   |
       +----(RenewalCalledOff)------+        command RenewEngine                        |
       +---------------------------------(EngineRenewed)--------------------------------+

While it is *held* (draining or restarting) nobody gets a new lease: who asks waits, as for a load. No load begins, and
no archive is called resident. What was on its way ends first, and every lease comes back, so that no lease is void.
Then the engine is told to begin anew. Its steps are gone by that; the archives are not: they keep their records (uses,
last use) and are loaded again, those first that somebody waits for, of these and of the others
pinned ones first, and then by what the policy thinks they are worth.

A drain that takes too long is called off from outside: then everything is as before.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from server.residency.planning import commands as c
from server.residency.planning import events as e
from server.residency.planning.house import House
from server.residency.planning.records import ArchiveRecord
from server.residency.planning.states import ArchiveState, RenewalPhase, StepMove, StepState

DEPARTURE: Final = "the engine is renewed"
_IN_FLIGHT: Final = {StepState.LOADING, StepState.UNLOADING}


def begin(house: House, event: e.RenewalWanted) -> None:  # noqa: ARG001 (a rule)
    """Give no new leases. One at a time; none where everything is being closed."""
    if house.is_closed or house.renewal is not None:
        return
    house.renewal = RenewalPhase.DRAINING
    for record in house.inventory.in_state(ArchiveState.RESIDENT):
        house.inventory.drain(record, DEPARTURE)


def call_off(house: House, event: e.RenewalCalledOff) -> None:  # noqa: ARG001 (a rule)
    """Serve on with the engine that is there. Too late once it restarts."""
    if house.renewal is RenewalPhase.DRAINING:
        house.renewal = None
        for record in house.inventory.in_state(ArchiveState.DRAINING):
            house.inventory.reprieve(record)


def restart_when_unused(house: House) -> None:
    """Restart the engine as soon as nobody uses it. To be called after every event while it is held."""
    if house.renewal is not RenewalPhase.DRAINING or house.is_closed:
        return
    inventory = house.inventory
    is_used = any(record.leases for record in inventory.archives.values())
    if is_used or any(step.state in _IN_FLIGHT for step in inventory.steps.values()):
        return
    house.renewal = RenewalPhase.RESTARTING
    house.commands.append(c.RenewEngine())


def finish(house: House, event: e.EngineRenewed) -> None:
    """The engine is new and empty: load everything again that was there."""
    if house.renewal is not RenewalPhase.RESTARTING:
        return
    house.renewal = None
    inventory = house.inventory
    for record in _order(house, inventory.in_state(ArchiveState.DRAINING)):
        inventory.recall(record, event.at)
        if record.archive.key in house.waiting.queue:
            house.waiting.board(record.archive.key)
        house.commands.append(c.Recalled(record))
    gone = [step for record in inventory.in_state(ArchiveState.LOADING) for step in record.steps]
    for step in [*gone, *inventory.steps.values()]:
        if step.state is StepState.RESIDENT:
            inventory.move(step, StepMove.RETRY if step.holders else StepMove.FREE)


def _order(house: House, records: list[ArchiveRecord]) -> list[ArchiveRecord]:
    """In which order they come back."""
    best_first = list(house.in_order(records))[::-1]
    judged = set(best_first)
    best_first += [record for record in records if record not in judged]  # a policy may not know all of them
    return sorted(
        best_first,
        key=lambda record: (not house.waiting.is_awaited(record.archive.key), not house.is_pinned(record)),
    )


RULES: Final[Mapping[type[Any], Callable[[House, Any], None]]] = {
    e.RenewalWanted: begin,
    e.RenewalCalledOff: call_off,
    e.EngineRenewed: finish,
}
