"""Guesses: steady archives are expected in time, random ones are not, groups wake together."""

import numpy as np

from server.residency.prefetch.companions import Group
from server.residency.prefetch.intervals import LEAST, Intervals
from server.residency.prefetch.predictor import GROUP, REGULAR, SESSION, Predictor

HOUR = 3600.0


def ask_every(predictor, name, interval_s, times, start=0.0):
    for turn in range(times):
        predictor.asked(name, start + turn * interval_s)
    return start + (times - 1) * interval_s


def guessed(predictor, at, reason=REGULAR):
    return [guess.name for guess in predictor.due(at) if guess.reason == reason]


def test_a_steady_archive_is_expected_shortly_before_it_is_due():
    predictor = Predictor()
    last = ask_every(predictor, "hourly", HOUR, LEAST + 1)
    assert guessed(predictor, last + 0.5 * HOUR) == []
    assert guessed(predictor, last + 0.97 * HOUR) == ["hourly"]
    assert guessed(predictor, last + 1.5 * HOUR) == [], "it did not come: nothing more is expected"


def test_jitter_of_a_tenth_is_still_steady():
    predictor, rng, at = Predictor(), np.random.default_rng(7), 0.0
    for _ in range(30):
        predictor.asked("jitter", at)
        at += HOUR * float(rng.uniform(0.95, 1.05))
    assert guessed(predictor, at) == ["jitter"]


def test_sessions_count_from_beginning_to_beginning():
    predictor = Predictor()
    for turn in range(LEAST + 1):
        for seconds in (0, 20, 45, 100):
            predictor.asked("bursts", turn * HOUR + seconds)
    assert guessed(predictor, LEAST * HOUR + 0.97 * HOUR) == ["bursts"]


def test_a_random_archive_is_hardly_ever_expected():
    rng = np.random.default_rng(11)
    predictor, expected, looks = Predictor(), 0, 0
    for index in range(100):
        at = 0.0
        for _ in range(20):
            at += float(rng.exponential(HOUR))
            expected += bool(guessed(predictor, at))
            looks += 1
            predictor.asked(f"random-{index}", at)
    assert looks == 2000
    assert expected < 0.02 * looks


def test_what_came_is_not_expected_any_more():
    predictor = Predictor()
    last = ask_every(predictor, "hourly", HOUR, LEAST + 1)
    assert guessed(predictor, last + HOUR) == ["hourly"]
    predictor.asked("hourly", last + HOUR)
    assert guessed(predictor, last + HOUR + 1) == []


def test_who_comes_early_is_not_expected_at_the_old_time():
    predictor = Predictor()
    last = ask_every(predictor, "hourly", HOUR, 12)
    predictor.asked("hourly", last + 0.5 * HOUR)
    assert guessed(predictor, last + HOUR) == []


def test_a_new_rhythm_is_learnt():
    intervals = Intervals()
    for _ in range(40):
        intervals.add(HOUR)
    assert intervals.window()[0] <= HOUR <= intervals.window()[1]
    for _ in range(100):
        intervals.add(3 * HOUR)
    assert intervals.window()[0] <= 3 * HOUR <= intervals.window()[1]


def test_few_or_absurd_intervals_say_nothing():
    intervals = Intervals()
    for each in (1.0, 10.0, 1e9):
        for _ in range(20):
            intervals.add(each)
    assert intervals.window() is None


def test_archives_that_come_with_their_group_are_expected_when_it_wakes():
    predictor = Predictor()
    for day in range(6):
        at = day * 24 * HOUR + day * 977.0
        predictor.asked("shop/texts", at)
        predictor.asked("shop/images", at + 30)
        if day == 2:
            predictor.asked("shop/rare", at + 60)
    at = 7 * 24 * HOUR
    predictor.asked("shop/texts", at)
    assert guessed(predictor, at + 1, GROUP) == ["shop/images"]
    predictor.asked("lonely", at)
    assert guessed(predictor, at + 3600, GROUP) == []


def test_a_group_that_is_awake_wakes_nobody():
    group = Group()
    woken = [list(group.asked(name, at * 60.0)) for at in range(100) for name in ("a", "b")]
    assert all(names == [] for names in woken)


def test_whoever_mostly_comes_twice_is_expected_to_come_again():
    predictor = Predictor()
    for turn in range(10):
        for seconds in (0, 30, 60, 90):
            predictor.asked("chatty", turn * 5000.0 + seconds)
        predictor.asked("once", turn * 5000.0)
    assert guessed(predictor, 45_091.0, SESSION) == ["chatty"]
    assert guessed(predictor, 45_091.0 + 121, SESSION) == []


def test_memory_is_bounded_and_who_was_asked_for_longest_ago_is_forgotten():
    predictor = Predictor(most_known=10)
    for index in range(50):
        predictor.asked(f"group/{index}", float(index))
    assert len(predictor) == 10
