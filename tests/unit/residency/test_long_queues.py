"""What an event costs does not depend on how many wait."""

from collections.abc import Iterator

import pytest

from server.domain.model import CPU, Footprint, StagedArchive, Step
from server.residency.forecast import MANY, Forecast
from server.residency.memory.footprint import Footprints
from server.residency.options import ResidencyOptions
from server.residency.planning import commands as c
from server.residency.planning import events as e
from server.residency.planning.planner import Planner
from tests.fakes.source import archive, step

HEAD, BASE, BASES = 10, 40, 5


def sized(amount: int) -> Footprint:
    return Footprint({CPU: amount})


def fleet() -> Iterator[StagedArchive]:
    """Heads of a few bases, without end."""
    bases = [step(f"base{number}", predicted=sized(BASE)) for number in range(BASES)]
    number = 0
    while True:
        base, head = bases[number % BASES], step(f"head{number}", predicted=sized(HEAD))
        yield archive(f"a{number}", base, head, step(f"whole{number}", calls=(base, head), predicted=sized(1)))
        number += 1


class Town:
    """A planner with room for a few archives, and an engine that does what it is told, one thing at a time."""

    def __init__(self, waiting: int, spare: int = 0, rush_from: int = 8) -> None:
        self.predictions = 0
        options = ResidencyOptions(churn_guard_s=0.0, max_parallel_loads=2, rush_from=rush_from)
        self.planner = Planner({CPU: BASES * BASE + 8 * (HEAD + 1) + spare}, self._predict, options)
        self.now, self.waiters, self.archives = 0.0, 0, fleet()
        self.work: list[e.Event] = []
        self.leased: list = []
        for _ in range(waiting + 8):
            self.want(next(self.archives))

    def _predict(self, each: Step) -> Footprint:
        self.predictions += 1
        return each.predicted

    def want(self, wanted: StagedArchive, *, is_patient: bool = False) -> int:
        self.waiters += 1
        self.tell(e.Wanted(self.now, self.waiters, wanted, is_patient=is_patient))
        return self.waiters

    def tell(self, event: e.Event) -> None:
        for command in self.planner.handle(event):
            if isinstance(command, c.Load):
                self.work.append(e.StepLoaded(self.now, command.step.digest, command.step.predicted))
            elif isinstance(command, c.Unload):
                self.work.append(e.StepUnloaded(self.now, command.digest))
            elif isinstance(command, c.Grant):
                self.leased.append(command.record)

    def turn(self) -> None:
        """Something of the engine's work is done; where there is none, a lease is given back."""
        self.now += 0.01
        if self.work:
            self.tell(self.work.pop(0))
        elif self.leased and self.planner.release(self.leased.pop(0), self.now):
            self.tell(e.Idle(self.now))

    @property
    def is_done(self) -> bool:
        return not (self.work or self.leased or self.planner.house.waiting.queue)


def work_of(waiting: int) -> float:
    """Predictions that are asked for in an event, as many being served as come."""
    town = Town(waiting)
    before = town.predictions
    for _ in range(40):
        town.turn()
        while len(town.planner.house.waiting.queue) < waiting:
            town.want(next(town.archives))
    return (town.predictions - before) / 40


def test_an_event_costs_the_same_however_many_wait():
    assert work_of(1000) <= 1.2 * work_of(100)


def test_one_more_who_comes_last_or_wants_what_others_want_costs_next_to_nothing():
    town = Town(1000)
    last = next(town.archives)
    before = town.predictions
    town.want(last)
    assert town.predictions - before <= 2 * len(last.steps)  # whether it fits at all, and no more
    before = town.predictions
    for _ in range(100):
        town.want(last)
    assert town.predictions == before


def test_everybody_is_served_in_the_end_and_in_turn():
    town, order = Town(60, rush_from=1000), []
    leased = town.leased
    while not town.is_done:
        count = len(leased)
        town.turn()
        order += [record.archive.name for record in leased[count:]] if len(leased) > count else []
    assert len(set(order)) >= 60
    numbers = [int(name[1:]) for name in order]
    assert max(abs(number - turn) for turn, number in enumerate(numbers)) <= 30


def test_what_needs_no_room_is_served_from_the_end_of_the_queue():
    """Content of another name with the same steps, as it happens when an archive is renamed."""
    town = Town(500)
    while town.work:
        town.turn()
    here = town.leased[0].archive
    town.tell(e.Pinned(town.now, here.name))  # else it drains for those in front
    twin = archive("twin", *here.steps)
    town.want(twin)
    assert any(record.archive.name == "twin" for record in town.leased)


def test_who_waits_far_behind_is_served_as_soon_as_others_hold_all_of_it():
    town = Town(300)
    queued = list(town.planner.house.waiting.queue.values())
    twin = archive("twin", *queued[0].steps)
    town.want(twin)
    while "twin" not in {record.archive.name for record in town.leased}:
        assert twin.key in town.planner.house.inventory.archives or town.planner.house.waiting.queue
        assert queued[40].key in town.planner.house.waiting.queue, "it waited for its turn"
        town.turn()


def test_what_never_fits_is_refused_at_once_however_many_wait():
    town = Town(500)
    giant = archive("giant", step("giant", predicted=sized(10_000)))
    waiter = town.want(giant)
    assert giant.key not in town.planner.house.waiting.queue
    assert town.planner.house.waiting.leave(waiter) is None


def test_who_becomes_urgent_passes_the_patient_and_keeps_its_turn():
    town = Town(0)
    room = town.planner.house.waiting
    first, second, third = (next(town.archives) for _ in range(3))
    for each in (first, second, third):
        room.join(100 + len(room.queue), each, is_queued=True, is_patient=True)
    waiting = [each.key for each in room.in_turn() if each in (first, second, third)]
    assert waiting == [first.key, second.key, third.key]
    room.join(200, third, is_queued=True)
    room.join(201, second, is_queued=True)
    assert [each.key for each in room.in_turn()][-3:] == [second.key, third.key, first.key]
    room.leave(201)
    assert [each.key for each in room.in_turn()][-3:] == [third.key, first.key, second.key]


def test_a_long_queue_is_summed_up_for_a_prediction_and_says_the_same():
    town = Town(MANY + 40)
    while town.work:
        town.turn()
    footprints = Footprints(lambda _: Footprint({}), {CPU: 1}, ResidencyOptions())
    queued = list(town.planner.house.waiting.queue.values())
    for number, each in enumerate(queued):
        for own in each.steps:
            footprints.measured(own, own.predicted, 0.5 + number % 3)
    forecast = Forecast(town.planner.house, footprints, lambda _: 0.0)
    newcomer = next(town.archives)
    for each in (queued[0], queued[30], queued[-1], newcomer):
        before_s = sum(forecast._loads_before(each, {own.digest: own for own in each.steps}))
        assert forecast._before_s(each, {own.digest for own in each.steps}) == pytest.approx(before_s)


def crowd_of_large_ones() -> tuple[Town, list[StagedArchive]]:
    """Everything in memory is leased, one small gap is left, and forty wait for what is larger."""
    town = Town(0, spare=5)
    while town.work:
        town.turn()
    free = town.planner.house.inventory.ledger.free()[CPU]
    large = [archive(f"large{number}", step(f"large{number}", predicted=sized(free + 20))) for number in range(40)]
    for each in large:
        town.want(each)
    return town, large


def has_room(town: Town, small: StagedArchive) -> bool:
    return small.key in town.planner.house.inventory.archives


def test_a_small_archive_that_comes_last_gets_the_gap_at_once():
    town, _ = crowd_of_large_ones()
    room = town.planner.house.inventory.ledger.free()[CPU]
    small = archive("small", step("small", predicted=sized(room)))
    town.want(small)
    assert has_room(town, small)


def test_small_archives_far_behind_are_found_when_a_gap_opens_and_do_not_starve_the_large():
    town, _ = crowd_of_large_ones()
    gap = town.planner.house.inventory.ledger.free()[CPU]
    small = [archive(f"small{number}", step(f"small{number}", predicted=sized(gap))) for number in range(30)]
    for each in small:
        town.want(each)
    passed = sum(has_room(town, each) for each in small)
    assert 1 <= passed <= town.planner.house.options.max_passes
    for _ in range(600):
        town.turn()
    names = [record.archive.name for record in [*town.planner.house.inventory.archives.values()]]
    assert town.is_done, names
    assert not town.planner.house.waiting.small._sizes


def test_who_lacks_less_since_others_hold_a_large_step_of_it_is_found():
    town, large = crowd_of_large_ones()
    gap = town.planner.house.inventory.ledger.free()[CPU]
    base = large[0].steps[0]
    head = archive("head", base, step("own", predicted=sized(gap)))
    small = town.planner.house.waiting.small
    town.want(head)
    assert small.size(head.key) == base.predicted.on(CPU)
    while base.digest not in town.planner.house.inventory.steps:
        town.turn()
    assert small.size(head.key) in {gap, 0}
