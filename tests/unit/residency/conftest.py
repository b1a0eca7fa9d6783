"""A residency over a fake engine and a fake source, closed after each test."""

import pytest

from server.domain.model import CPU
from server.residency.options import ResidencyOptions
from server.residency.residency import Residency
from tests.fakes.clock import FakeClock
from tests.fakes.engine import FakeEngine
from tests.fakes.source import FakeSource


class Journal:
    """An observer that remembers."""

    def __init__(self):
        self.entries = []

    def __getattr__(self, what):
        return lambda *facts: self.entries.append((what, *facts))

    def last(self, what):
        return next(facts for kind, *facts in reversed(self.entries) if kind == what)

    def of(self, what):
        return [facts for kind, *facts in self.entries if kind == what]


class Yard:
    """Everything that a residency test handles."""

    def __init__(self, budget, archives, options, clock):
        self.clock = clock
        self.engine = FakeEngine()
        self.source = FakeSource(*archives)
        self.journal = Journal()
        self.residency = Residency(self.engine, self.source, {CPU: budget}, clock, options, self.journal, self.engine)

    @property
    def charged(self):
        return self.journal.last("charged")[1]

    def residents(self):
        return [each["archive"] for each in self.residency.snapshot()["residents"]]

    async def serve(self, name, timeout_s=5.0):
        """One request from beginning to end; returns how warm it was."""
        self.clock.advance(1.0)
        with await self.residency.lease(name, timeout_s) as lease:
            return lease.warmth


@pytest.fixture
async def yard():
    """Makes yards: `yard(budget, *archives, **options)`."""
    made = []

    def make(budget, *archives, clock=None, **options):
        settings = ResidencyOptions(**{"close_timeout_s": 1.0, "retry_pause_s": 0.0, **options})
        made.append(Yard(budget, archives, settings, clock or FakeClock()))
        return made[-1]

    yield make
    for each in made:
        each.engine.loads_open.set()
        each.engine.unloads_open.set()
        await each.residency.close()
        assert each.engine.loaded == {}
        assert each.source.retained == frozenset()
