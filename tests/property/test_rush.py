"""Where many wait, they are served base by base; and nobody starves for it. Each promise is tested with bugs planted.

- a crowd is served in rounds: else a base is loaded for a few of those who wait for it
- a round is finite: else who comes last passes those who wait for another base, for ever
- who comes last takes no base that is leaving for the first
- without a rush nothing of this happens
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pytest

from server.domain.model import CPU, Footprint, StagedArchive
from server.residency.options import ResidencyOptions
from server.residency.planning import commands as c
from server.residency.planning import events as e
from server.residency.planning import planner as real
from tests.fakes.source import archive, step
from tests.property.planted_planner import plant

BASE, HEAD, BASES, IN_MEMORY = 40, 2, 6, 3
NEVER = 1_000_000
FEW_LOADS = BASES + 4
"""Each base once, and a few when so few are left that it is no rush any more."""
MOST_PASSED = 8 * (BASES - 1)
"""As many as wait with the loner: a round holds no more than that."""


def sized(amount: int) -> Footprint:
    return Footprint({CPU: amount})


ENCODERS = [step(f"base{number}", predicted=sized(BASE)) for number in range(BASES + 1)]


def head_on(base: int, number: int) -> StagedArchive:
    head = step(f"head{base}-{number}", predicted=sized(HEAD))
    return archive(f"a{base}-{number}", ENCODERS[base], head)


class Town:
    """A planner with room for three bases, an engine that does one thing at a time, callers who soon have enough."""

    def __init__(self, module: Any = real, rush_from: int = 8, policy: str = "lru") -> None:
        options = ResidencyOptions(policy=policy, rush_from=rush_from)
        self.planner = module.Planner({CPU: IN_MEMORY * (BASE + HEAD)}, lambda each: each.predicted, options)
        self.now, self.ids = 0.0, 0
        self.work: deque[e.Event] = deque()
        self.leased: deque[Any] = deque()
        self.served: list[str] = []
        self.loads: Counter[str] = Counter()

    def want(self, wanted: StagedArchive) -> None:
        self.ids += 1
        self.tell(e.Wanted(self.now, self.ids, wanted))

    def tell(self, event: e.Event) -> None:
        for command in self.planner.handle(event):
            if isinstance(command, c.Load):
                self.loads[command.step.name] += 1
                self.work.append(e.StepLoaded(self.now, command.step.digest, command.step.predicted))
            elif isinstance(command, c.Unload):
                self.work.append(e.StepUnloaded(self.now, command.digest))
            elif isinstance(command, c.Grant):
                self.served.append(command.record.archive.name)
                self.leased.append(command.record)

    def turn(self) -> bool:
        """Something is done. Returns whether there was anything."""
        self.now += 0.01
        if self.leased:
            if self.planner.release(self.leased.popleft(), self.now):
                self.tell(e.Idle(self.now))
        elif self.work:
            self.tell(self.work.popleft())
        else:
            return False
        return True

    def base_loads(self) -> int:
        return sum(count for name, count in self.loads.items() if name.startswith("base"))


def crowded(town: Town, heads: int = 10) -> int:
    """Heads of all bases are wanted in turn, all at once. Returns how many bases are loaded until all are served."""
    for number in range(heads):
        for base in range(BASES):
            town.want(head_on(base, number))
    while town.turn():
        pass
    assert len(set(town.served)) == heads * BASES
    return town.base_loads()


def two_for_the_same(_: int) -> list[int]:
    return [0, 0]


def one_for_each(base: int) -> list[int]:
    return [base]


def passed_by(come: Callable[[int], list[int]], module: Any = real) -> int:
    """How many who came later are served before a loner; with each answer more come for other bases."""
    town, numbers, first = Town(module), Counter[int](), 8

    def one_more(base: int) -> None:
        numbers[base] += 1
        town.want(head_on(base, numbers[base]))

    for _ in range(first):
        for base in range(BASES - 1):
            one_more(base)
    loner = head_on(BASES, 0)
    town.want(loner)
    before = {head_on(base, number).name for base in numbers for number in range(1, first + 1)}
    while True:
        known = len(town.served)
        assert town.turn()
        for name in town.served[known:]:
            if name == loner.name:
                return len(set(town.served[:known]) - before)
            if len(town.served) > 3 * MOST_PASSED:
                return NEVER
            for base in come(int(name[1:].partition("-")[0])):
                one_more(base)


@pytest.mark.parametrize("policy", ["lru", "gdsf", "s3-fifo"])
def test_a_crowd_is_served_by_one_load_of_its_base(policy):
    assert crowded(Town(policy=policy)) <= FEW_LOADS


@pytest.mark.parametrize("come", [two_for_the_same, one_for_each])
def test_a_loner_is_passed_by_each_crowd_once_at_most(come):
    assert passed_by(come) <= MOST_PASSED


def test_without_a_rush_nothing_is_decided_otherwise():
    few, never = Town(rush_from=8), Town(rush_from=NEVER)
    for number in range(30):
        for town in (few, never):
            for base in (number % BASES, (number + 1) % BASES, (number * 5) % BASES):
                town.want(head_on(base, number))
            while town.turn():
                pass
    assert few.served == never.served
    assert few.loads == never.loads


LOADS_MORE: dict[str, tuple[str, str, str]] = {
    "a crowd is not served in rounds": ("lines", "if in_rounds and not wanted else turns", "if None else turns"),
    "rounds end at once": ("crowds", "self._turns[crowd][-1]", "self._turns[crowd][0]"),
}
STARVES: dict[str, tuple[Callable[[int], list[int]], str, str, str]] = {
    "a round takes in who comes later": (two_for_the_same, "crowds", "= self._turns[crowd][-1]", "= 10**9"),
    "who comes last takes a base that leaves for the first": (
        one_for_each,
        "claims",
        "self._beyond_reach | self._pool.coming",
        "self._beyond_reach",
    ),
}


@pytest.mark.parametrize("bug", LOADS_MORE)
def test_a_bug_that_loads_bases_again_is_caught(bug):
    assert crowded(Town(plant(*LOADS_MORE[bug]))) > FEW_LOADS


@pytest.mark.parametrize("bug", STARVES)
def test_a_bug_that_starves_a_loner_is_caught(bug):
    come, *change = STARVES[bug]
    assert passed_by(come, plant(*change)) > MOST_PASSED


def test_where_nobody_is_served_in_rounds_the_same_takes_many_times_as_many_loads():
    assert crowded(Town(rush_from=NEVER)) > 4 * BASES
