"""Whether guesses came true: counted, and a reason that is mostly wrong is switched off and tried again."""

from server.residency.prefetch.predictor import GROUP, REGULAR, Guess
from server.residency.prefetch.scores import JUDGED, LEAST_JUDGED, PAUSE_S, Scorecard


def play(card, outcomes, at=0.0, reason=REGULAR):
    """One guess after another, each right or wrong; returns the time after the last."""
    for number, is_right in enumerate(outcomes):
        card.prefetched(Guess(at + 10, f"{reason}-{number}", reason), 100)
        if is_right:
            card.asked(f"{reason}-{number}", at + 5)
        at += 11
        card.passed(at)
    return at


def test_right_and_wrong_guesses_are_counted_with_their_bytes():
    card = Scorecard()
    at = play(card, [True, True, False])
    figures = card.figures(at)[REGULAR]
    assert (figures["prefetched"], figures["used"], figures["wasted"]) == (3, 2, 1)
    assert (figures["precision"], figures["moved_bytes"], figures["wasted_bytes"]) == (0.6667, 300, 100)


def test_what_comes_too_late_was_wasted():
    card = Scorecard()
    card.prefetched(Guess(10.0, "late", REGULAR), 7)
    assert card.is_open("late")
    card.asked("late", 11.0)
    card.passed(12.0)
    assert card.figures(12.0)[REGULAR]["wasted_bytes"] == 7
    assert not card.is_open("late")


def test_a_reason_that_is_mostly_wrong_is_switched_off_alone_and_tried_again_later():
    card = Scorecard()
    at = play(card, [True, False, False] * 3)
    assert not card.is_on(REGULAR, at)
    assert card.is_on(GROUP, at)
    assert card.is_on(REGULAR, at + PAUSE_S)


def test_the_pause_doubles_until_the_reason_proves_right():
    card = Scorecard()
    at = play(card, [False] * LEAST_JUDGED)
    first = card.of(REGULAR).off_until
    at = play(card, [False] * LEAST_JUDGED, at=first)
    assert card.of(REGULAR).off_until - at > 1.9 * PAUSE_S
    play(card, [True] * JUDGED, at=card.of(REGULAR).off_until)
    assert card.of(REGULAR).pause_s == PAUSE_S


def test_a_few_wrong_guesses_decide_nothing():
    card = Scorecard()
    at = play(card, [False] * (LEAST_JUDGED - 1))
    assert card.is_on(REGULAR, at)
