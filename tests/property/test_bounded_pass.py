"""A pass that looks at a few claims in front decides what one over the whole queue decides.

Where all archives are equally large, exactly: behind the first who are short of room nobody else may get any. Where
sizes differ, who is small enough for a gap is found later, and still: everybody is served, and nobody waits for ever.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.domain.model import CPU, Footprint, StagedArchive
from server.residency.options import ResidencyOptions
from server.residency.planning import commands as c
from server.residency.planning import events as e
from tests.fakes.source import archive, step
from tests.property.planted_planner import plant

ROOM = 40
OPTIONS = ResidencyOptions(churn_guard_s=0.0, spare_s=0.0)
FULL = plant("claims", "MOST_SHORT: Final = 16", "MOST_SHORT: Final = 1_000_000")
BOUNDED = plant("claims", "MOST_SHORT: Final = 16", "MOST_SHORT: Final = 3")
THOROUGH = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sized(amount: int) -> Footprint:
    return Footprint({CPU: amount})


EQUAL = [archive(f"equal{number}", step(f"equal{number}", predicted=sized(10))) for number in range(16)]
BASES = [step(f"base{number}", predicted=sized(12)) for number in range(2)]
MIXED = [
    archive(f"mixed{number}", BASES[number % 2], step(f"mixed{number}", predicted=sized(number % 5 * 4 + 1)))
    for number in range(16)
]
TURNS = st.lists(
    st.tuples(st.sampled_from(["want"] * 4 + ["wait"] + ["work"] * 3 + ["free", "free", "leave"]), st.integers(0, 15)),
    max_size=60,
)


class Played:
    """A planner, its engine and its callers, all of whom do what they are told."""

    def __init__(self, module: Any, archives: list[StagedArchive]) -> None:
        self.planner = module.Planner({CPU: ROOM}, lambda each: each.predicted, OPTIONS)
        self.archives = archives
        self.now, self.waiters = 0.0, 0
        self.told: list[tuple[str, object]] = []
        self.work: list[tuple[type, tuple[object, ...]]] = []
        self.leases: list[Any] = []
        self.waiting: list[int] = []

    def turn(self, kind: str, number: int) -> None:
        self.now += 1.0
        if kind in {"want", "wait"}:
            self.waiters += 1
            self.waiting.append(self.waiters)
            self._tell(e.Wanted(self.now, self.waiters, self.archives[number], is_patient=kind == "wait"))
        elif kind == "work" and self.work:
            made, facts = self.work.pop(number % len(self.work))
            self._tell(made(self.now, *facts))
        elif kind == "free" and self.leases:
            if self.planner.release(self.leases.pop(number % len(self.leases)), self.now):
                self._tell(e.Idle(self.now))
        elif kind == "leave" and self.waiting:
            self._tell(e.GaveUp(self.now, self.waiting.pop(number % len(self.waiting))))

    def play_out(self) -> None:
        """Everybody gives back what they have, and the engine does all that it is told."""
        for _ in range(1000):
            if not (self.work or self.leases):
                break
            self.turn("work" if self.work else "free", 0)
        self._tell(e.Idle(self.now))

    def _tell(self, event: e.Event) -> None:
        for command in self.planner.handle(event):
            if isinstance(command, c.Load):
                self.work.append((e.StepLoaded, (command.step.digest, command.step.predicted)))
                self.told.append(("load", command.step.digest))
            elif isinstance(command, c.Unload):
                self.work.append((e.StepUnloaded, (command.digest,)))
                self.told.append(("unload", command.digest))
            elif isinstance(command, c.Grant | c.Refuse):
                self.waiting.remove(command.waiter)
                self.told.append((type(command).__name__, command.waiter))
                if isinstance(command, c.Grant):
                    self.leases.append(command.record)


@THOROUGH
@given(TURNS)
def test_where_all_are_equally_large_nothing_is_decided_otherwise(turns):
    full, bounded = Played(FULL, EQUAL), Played(BOUNDED, EQUAL)
    for kind, number in turns:
        full.turn(kind, number)
        bounded.turn(kind, number)
        assert bounded.told == full.told
    full.play_out()
    bounded.play_out()
    assert bounded.told == full.told


@THOROUGH
@given(TURNS)
def test_everybody_is_served_where_sizes_differ_and_steps_are_shared(turns):
    bounded = Played(BOUNDED, MIXED)
    for kind, number in turns:
        bounded.turn(kind, number)
    for _ in range(len(bounded.waiting) + 1):  # who is patient is told of idle archives now and then
        bounded.play_out()
    assert not bounded.waiting
    assert not any(kind == "Refuse" for kind, _ in bounded.told)


def has_the_gap(module: Any, gap: int, before: int, behind: int, largest: int) -> bool:
    """All memory is leased but for a gap; whether one who fits into it gets it, whoever came before or comes after."""
    played = Played(module, [])
    played.archives = [
        archive("in use", step("in use", predicted=sized(ROOM - gap))),
        archive("small", step("small", predicted=sized(gap))),
        *(
            archive(f"large{each}", step(f"large{each}", predicted=sized(gap + 1 + each % largest)))
            for each in range(40)
        ),
    ]
    played.turn("want", 0)
    played.turn("work", 0)
    for number in range(before):
        played.turn("want", 2 + number)
    played.turn("want", 1)
    for number in range(before, before + behind):
        played.turn("want", 2 + number)
    return ("load", played.archives[1].steps[0].digest) in played.told


GAPS = st.tuples(st.integers(1, ROOM - 10), st.integers(0, 20), st.integers(0, 20), st.integers(1, 9))


@settings(THOROUGH, max_examples=15)
@given(GAPS)
def test_who_fits_into_a_gap_gets_it_however_far_behind(gap):
    assert has_the_gap(BOUNDED, *gap)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("claims", "if waiting.is_cut:", "if waiting.is_cut and not archive:"),
        ("planner", "is_behind and not self._may_fit(event.archive)", "is_behind"),
    ],
)
def test_a_gap_that_is_not_seen_is_caught(file, old, new):
    planted = plant(file, old, new)

    @settings(THOROUGH, max_examples=15)
    @given(GAPS)
    def hunt(gap):
        assert has_the_gap(planted, *gap)

    with pytest.raises((AssertionError, ExceptionGroup)):
        hunt()
