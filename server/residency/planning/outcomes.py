"""What the engine made of its orders, as rules of the planner: steps that were loaded, failed, were lost, or are gone.

A step is *void* if the engine died while it loaded it: how that load ends says nothing of the step's content.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from server.domain.errors import DeviceFull, EngineLost, RoundhouseError
from server.residency.planning import commands as c
from server.residency.planning import events as e
from server.residency.planning.house import House
from server.residency.planning.records import ArchiveRecord, StepRecord
from server.residency.planning.states import ArchiveState, StepMove, StepState

LOST_WHILE_LOADING: Final = "the engine died while it loaded this archive"


def step_loaded(house: House, event: e.StepLoaded) -> None:
    """The step is in memory: charge what it takes."""
    step = house.inventory.steps[event.digest]
    if not step.is_void:
        step.is_from_host = event.is_from_host
        house.inventory.measure(step, event.measured, event.at)
        if house.terms.tariff.groups:
            house.overdrawn.update(record.terms.group for record in house.inventory.sharers(step))
        return
    step.is_void = False  # loaded, then lost before we heard of it, or the other way round: start afresh
    _count_loss(house, step, EngineLost(LOST_WHILE_LOADING))
    house.inventory.move(step, StepMove.UNLOAD)
    house.commands.append(c.Unload(event.digest, step.last_holder))


def step_failed(house: House, event: e.StepFailed) -> None:
    """The step cannot be loaded, and so no archive that needs it."""
    step = house.inventory.steps[event.digest]
    if step.is_void:  # it failed because the engine, or what the step calls, was gone: no fault of the content
        step_lost(house, e.StepLost(event.at, event.digest, EngineLost(LOST_WHILE_LOADING)))
        return
    house.fail_sharers(step, lambda _: event.error)
    house.inventory.move(step, StepMove.FREE)


def step_out_of_memory(house: House, event: e.StepOutOfMemory) -> None:
    """The device was full: try once more with more room, where anybody waits for that."""
    step = house.inventory.steps[event.digest]
    if step.is_void:
        step_lost(house, e.StepLost(event.at, event.digest, EngineLost(LOST_WHILE_LOADING)))
        return
    step.out_of_memory += 1
    is_awaited = any(house.waiting.is_awaited(key) for key in step.references)
    if step.out_of_memory > 1 or not is_awaited:
        house.fail_sharers(step, lambda record: _does_not_fit(house, record, step, event.said))
        house.inventory.move(step, StepMove.FREE)
    else:
        house.inventory.stall(step)


def step_lost(house: House, event: e.StepLost) -> None:
    """The engine died under the step, which is loaded again where it is still wanted."""
    step = house.inventory.steps[event.digest]
    step.is_void = False
    _count_loss(house, step, event.error)
    house.inventory.move(step, StepMove.RETRY if step.holders else StepMove.FREE)


def step_unloaded(house: House, event: e.StepUnloaded) -> None:
    """The step's memory is back."""
    step = house.inventory.steps[event.digest]
    house.inventory.move(step, StepMove.RETRY if step.holders else StepMove.FREE)


def engine_died(house: House, event: e.EngineDied) -> None:
    """The steps that were in that engine are gone, and so is every archive that was resident with them."""
    known = [house.inventory.steps[digest] for digest in event.digests if digest in house.inventory.steps]
    lost = [step for step in known if step.state is StepState.RESIDENT]
    for step in house.inventory.in_flight():
        if not set(event.digests).isdisjoint([step.step.digest, *step.step.calls.values()]):
            step.is_void = True
    for key in sorted({key for step in lost for key in step.references}):
        record = house.inventory.archives[key]
        if record.state is not ArchiveState.LOADING:
            house.let_go(record, "lost with its engine")
    for step in lost:
        house.inventory.move(step, StepMove.RETRY if step.holders else StepMove.FREE)


def _count_loss(house: House, step: StepRecord, error: RoundhouseError) -> None:
    step.losses += 1
    if step.losses > house.options.lost_retries:
        house.fail_sharers(step, lambda _: error)


def _does_not_fit(house: House, record: ArchiveRecord, step: StepRecord, said: str) -> DeviceFull:
    charges = house.inventory.sizes.charge_of([step])
    device = min(charges, default="")
    budget = house.inventory.ledger.budgets.get(device, 0)
    return DeviceFull(record.archive.name, device, charges.get(device, 0), budget, said)


RULES: Final[Mapping[type[Any], Callable[[House, Any], None]]] = {
    e.StepLoaded: step_loaded,
    e.StepFailed: step_failed,
    e.StepOutOfMemory: step_out_of_memory,
    e.StepLost: step_lost,
    e.StepUnloaded: step_unloaded,
    e.EngineDied: engine_died,
}
