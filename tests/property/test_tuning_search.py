"""A tuning never returns what missed the goal in its confirming run, nor what was worse there than the baseline."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.tuning.judging import Goal, Point, Round, best, median_curve
from benchmarks.tuning.search import BaselineFailedError, Confirmed, Search, Thoroughness
from benchmarks.tuning.space import BASELINE, Choice, Knob

LEVELS = (1, 4, 16)


@dataclass
class Host:
    """A machine on which each knob's value multiplies speed, with noise and slow minutes; some settings break."""

    speeds: dict[tuple[str, str], float]
    noise: float
    chance: random.Random
    broken: frozenset[Choice] = frozenset()
    sittings: list[dict[Choice, tuple[Point, ...] | None]] = field(default_factory=list)

    def measure(self, choices):
        minute = 1 + self.noise * self.chance.random()
        curves = [None if choice in self.broken else self.curve(choice, minute) for choice in choices]
        self.sittings.append(dict(zip(choices, curves, strict=True)))
        return curves

    def curve(self, choice, minute=1.0):
        speed = 100.0
        for each in choice.values:
            speed *= self.speeds.get(each, 1.0)
        return tuple(self.point(level, speed, minute) for level in LEVELS)

    def point(self, level, speed, minute):
        shake = (1 + self.noise * (self.chance.random() - 0.5)) / minute
        rate = speed * shake * min(level, 4) / 4
        return Point(level, rate, 1e3 * level / rate, 2e3 * level / rate)


KNOBS = (Knob("a.threads", "2", ("1", "4")), Knob("serve.batching", "auto", ("off",)), Knob("b.instances", "", ("2",)))
VALUES = [(knob.name, value) for knob in KNOBS for value in knob.others]
hosts = st.builds(
    Host,
    speeds=st.fixed_dictionaries(dict.fromkeys(VALUES, st.sampled_from([0.5, 0.9, 0.99, 1.0, 1.01, 1.2, 2.0]))),
    noise=st.sampled_from([0.0, 0.05, 0.5, 3.0]),
    chance=st.integers(0, 2**32).map(random.Random),
    broken=st.sets(st.sampled_from([Choice((value,)) for value in VALUES]), max_size=2).map(frozenset),
)
goals = st.one_of(
    st.just(Goal()),
    st.builds(Goal, st.sampled_from([1.0, 30.0, 60.0, 200.0, 1e4]), st.sampled_from(["p50_ms", "p99_ms"])),
)


def verdict_is_sound(search, host, goal):
    """The promises, read off what the host has measured."""
    verdict = search.run()
    if verdict.chosen is None:
        assert not goal.kept(verdict.last.baseline), "the archive as it is keeps the goal, and was not returned"
        return
    choice, rounds = verdict.chosen.choice, len(verdict.chosen.rounds)
    fresh = [sitting for sitting in host.sittings[-rounds * search.thoroughness.confirmed :] if choice in sitting]
    confirming = median_curve([sitting[choice] for sitting in fresh[-rounds:]])
    assert goal.kept(confirming), "what was returned missed the goal in its confirming run"
    assert confirming == verdict.chosen.curve
    if choice != BASELINE:
        measured = [Round(sitting[choice], sitting[BASELINE]) for sitting in fresh[-rounds:]]
        beside = [Round(each.baseline, each.baseline) for each in measured]
        assert goal.worth(measured) > goal.worth(beside), "what was returned was no better than the baseline beside it"
    assert choice not in host.broken


@settings(deadline=None, max_examples=80)
@given(host=hosts, goal=goals, rounds=st.integers(1, 3))
def test_what_is_returned_kept_the_goal_and_beat_the_baseline_in_fresh_measurements(host, goal, rounds):
    verdict_is_sound(Search(KNOBS, goal, host.measure, Thoroughness(confirm_rounds=rounds)), host, goal)


@settings(deadline=None, max_examples=30)
@given(host=hosts)
def test_on_a_quiet_host_nothing_that_one_turn_makes_better_is_left(host):
    host.noise = 0.0
    host.broken = frozenset()
    verdict = Search(KNOBS, Goal(), host.measure).run()
    speed = best(host.curve(verdict.chosen.choice))
    for knob in KNOBS:
        for value in (knob.now, *knob.others):
            assert best(host.curve(verdict.chosen.choice.turned(knob, value))) <= speed * 1.02


@settings(deadline=None, max_examples=30)
@given(host=hosts, goal=goals)
def test_it_measures_no_more_than_it_said(host, goal):
    search = Search(KNOBS, goal, host.measure)
    search.run()
    assert sum(map(len, host.sittings)) <= search.most_curves()
    assert all(next(iter(sitting)) == BASELINE for sitting in host.sittings)


class TakesTheBestSeen(Search):
    """Planted: believes the search's figures."""

    def _holds(self, found):
        return True


class ConfirmsWithOldFigures(Search):
    """Planted: judges by what it has seen already."""

    def _confirm(self, choice):
        rounds = tuple(self._rounds.get(choice, ())) or None
        return Confirmed(choice, rounds, self.goal.worth(rounds)) if rounds else super()._confirm(choice)


@pytest.mark.parametrize("planted", [TakesTheBestSeen, ConfirmsWithOldFigures], ids=lambda each: each.__name__)
def test_planted_bugs_are_caught(planted):
    caught = 0
    for seed in range(200):
        chance = random.Random(seed)
        speeds = {value: chance.choice([0.9, 1.0, 1.01]) for value in VALUES}
        host = Host(speeds, 1.0, chance)
        goal = Goal(60.0) if seed % 2 else Goal()
        try:
            verdict_is_sound(planted(KNOBS, goal, host.measure), host, goal)
        except AssertionError:
            caught += 1
    assert caught > 0


def test_a_baseline_that_fails_ends_the_tuning():
    host = Host({}, 0.0, random.Random(0), frozenset({BASELINE}))
    with pytest.raises(BaselineFailedError, match="as it is"):
        Search(KNOBS, Goal(), host.measure).run()


def test_an_archive_without_knobs_gets_its_curve():
    host = Host({}, 0.0, random.Random(0))
    verdict = Search((), Goal(), host.measure).run()
    assert verdict.chosen.choice == BASELINE
    assert len(verdict.chosen.rounds) == Thoroughness().confirm_rounds
