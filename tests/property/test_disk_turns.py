"""Whose turn it is in the line before the disk cache: always the smallest rank's, at a cost that does not grow."""

import looptime
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from server.store.disk import line as disk_line
from server.store.disk.turns import Turns
from tests.property.disk_line_world import Archive, World


class Visitor:
    def __init__(self, serial):
        self.serial = serial
        self.is_base = False

    @property
    def rank(self):
        return not self.is_base, False, self.serial


class TurnsAgainstALookAtEverybody(RuleBasedStateMachine):
    waiting = Bundle("waiting")

    def __init__(self):
        super().__init__()
        self.turns = Turns(lambda visitor: visitor.rank)
        self.here = []

    @rule(target=waiting, serial=st.integers(0, 30), is_base=st.booleans())
    def enter(self, serial, is_base):
        visitor = Visitor(serial)
        visitor.is_base = is_base
        self.turns.enter(visitor)
        self.here.append(visitor)
        return visitor

    @rule(visitor=consumes(waiting))
    def leave(self, visitor):
        self.turns.leave(visitor)
        self.here.remove(visitor)

    @rule(visitor=waiting)
    def become_a_base(self, visitor):
        visitor.is_base = True
        self.turns.promoted(visitor)

    @rule(visitor=waiting)
    def be_a_base_no_more(self, visitor):
        visitor.is_base = False

    @precondition(lambda self: self.here)
    @rule()
    def serve(self):
        assert self.turns.first().rank == min(visitor.rank for visitor in self.here)

    @invariant()
    def nobody_is_there_only_where_nobody_waits(self):
        assert (self.turns.first() is None) == (not self.here)


TestTurns = TurnsAgainstALookAtEverybody.TestCase
TestTurns.settings = settings(max_examples=30, deadline=None)


def test_who_does_not_wait_is_not_promoted():
    turns = Turns(lambda visitor: visitor.rank)
    turns.promoted(Visitor(0))
    assert turns.first() is None


def looks_per_archive(count):
    """How often the line asks an archive whether it is a base, where all come at once."""
    base = Archive("base", 2, 2)
    archives = [Archive(f"head{number}", 1, 1, base if number % 3 else None) for number in range(count)]
    loop = looptime.new_event_loop(start=0)
    try:
        world = World(disk_line, 10 * count, 4, archives)
        loop.run_until_complete(world.run())
    finally:
        loop.close()
    assert set(world.outcomes.values()) == {"there"}
    return world.looks / count


def test_what_a_change_costs_does_not_depend_on_how_many_wait():
    few, many = looks_per_archive(50), looks_per_archive(400)
    assert many == pytest.approx(few, rel=0.2)
    assert many < 40
