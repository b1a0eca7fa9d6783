"""The order of those who wait for room: by turn, and in a rush by rounds that come at their openers' turns."""

import pytest

from server.domain.model import CPU, Footprint
from server.residency.planning.lines import Lines
from tests.fakes.source import archive, step

BASES = {name: step(name, predicted=Footprint({CPU: 40})) for name in "PQR"}


def waiting(name):
    """An archive whose base is its first letter."""
    return archive(name, BASES[name[0]], step(f"head of {name}", predicted=Footprint({CPU: 1})))


@pytest.fixture
def lines():
    return Lines()


def enter(lines, names, group="", *, is_patient=False):
    for name in names.split():
        lines.enter(waiting(name), group, is_patient=is_patient)


def opened(lines, name):
    lines.crowds.open(waiting(name).key)


def order(lines, is_open=lambda _: True, *, in_rounds=True):
    return " ".join(each.name for each in lines.in_turn(is_open, in_rounds=in_rounds))


def test_nobody_passes_where_no_round_is_open(lines):
    enter(lines, "P1 Q1 P2 R1 Q2")
    assert order(lines) == "P1 Q1 P2 R1 Q2"


def test_a_round_comes_at_its_openers_turn_with_all_who_wait_for_the_same(lines):
    enter(lines, "P1 Q1 P2 R1 Q2 P3")
    opened(lines, "Q1")
    assert order(lines) == "P1 Q1 Q2 P2 R1 P3"


def test_rounds_come_in_the_order_of_their_openers_and_not_of_their_opening(lines):
    enter(lines, "P1 Q1 P2 Q2 R1")
    opened(lines, "Q1")
    opened(lines, "P1")
    assert order(lines) == "P1 P2 Q1 Q2 R1"


def test_rounds_keep_that_order_when_their_openers_are_served(lines):
    enter(lines, "P1 Q1 R1 Q2 P2")
    opened(lines, "Q1")
    opened(lines, "P1")
    lines.leave(waiting("P1").key)
    lines.leave(waiting("Q1").key)
    assert order(lines) == "P2 Q2 R1"


def test_a_round_keeps_its_turn_when_its_opener_is_served(lines):
    enter(lines, "Q1 P1 Q2")
    opened(lines, "Q1")
    lines.leave(waiting("Q1").key)
    assert order(lines) == "Q2 P1"


def test_who_comes_after_a_round_was_opened_is_not_in_it(lines):
    enter(lines, "Q1 Q2 P1")
    opened(lines, "Q1")
    enter(lines, "Q3")
    assert order(lines) == "Q1 Q2 P1 Q3"


def test_somebody_older_who_ceases_to_be_patient_brings_the_round_forward(lines):
    enter(lines, "Q1", is_patient=True)
    enter(lines, "P1 Q2 Q3 R1")
    opened(lines, "Q2")
    lines.change(waiting("Q1").key, is_patient=False)
    assert order(lines) == "Q1 Q2 Q3 P1 R1"


def test_the_patient_come_last_and_in_no_round(lines):
    enter(lines, "Q1 P1")
    enter(lines, "Q2 P2", is_patient=True)
    opened(lines, "Q1")
    assert order(lines) == "Q1 P1 Q2 P2"


def test_groups_have_crowds_of_their_own(lines):
    enter(lines, "Q1")
    enter(lines, "Q2 P1 Q3", group="acme")
    enter(lines, "Q4")
    opened(lines, "Q2")
    assert order(lines) == "Q1 Q2 Q3 P1 Q4"


def test_a_closed_groups_rounds_are_closed_too(lines):
    enter(lines, "Q1 Q2", group="acme")
    enter(lines, "P1")
    opened(lines, "Q1")
    assert order(lines, lambda group: group != "acme") == "P1"


def test_a_line_that_closes_under_way_ends_its_round(lines):
    enter(lines, "Q1 Q2 Q3", group="acme")
    enter(lines, "P1")
    opened(lines, "Q1")
    seen = []

    def is_open(group):
        return group != "acme" or len(seen) < 2

    for each in lines.in_turn(is_open, in_rounds=True):
        seen.append(each.name)  # noqa: PERF401 (is_open looks at it meanwhile)
    assert seen == ["Q1", "Q2", "P1"]


def test_a_round_that_is_opened_under_way_is_served_next(lines):
    enter(lines, "P1 Q1 R1 Q2 P2")
    seen = []
    for each in lines.in_turn(lambda _: True, in_rounds=True):
        seen.append(each.name)
        if each.name in {"P1", "Q1"}:
            opened(lines, each.name)
    assert [name for number, name in enumerate(seen) if name not in seen[:number]] == ["P1", "P2", "Q1", "Q2", "R1"]


def test_without_rounds_all_come_by_turn(lines):
    enter(lines, "P1 Q1 P2")
    opened(lines, "P1")
    assert order(lines, in_rounds=False) == "P1 Q1 P2"
