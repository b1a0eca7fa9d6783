"""Which requests are noted, when they arrived, and when an archive's parts are asked for again."""

import pytest

from server.domain.errors import ArchiveNotFound, InferenceFailed, Overloaded
from server.domain.part import Part
from server.telemetry.access_log import AccessLog
from tests.fakes.clock import FakeClock

HEAD, GROWN = Part("head", 20, 0.25), Part("head", 30, 0.5)


class Besides:
    """The other log."""

    def __init__(self):
        self.heard = []

    def served(self, *facts):
        self.heard.append(("served", *facts))

    def failed(self, *facts):
        self.heard.append(("failed", *facts))

    def left(self, *facts):
        self.heard.append(("left", *facts))


class Notes:
    """An access log whose lines stay here."""

    def __init__(self):
        self.lines, self.asked, self.besides = [], [], Besides()
        self.parts = {"a": (HEAD,)}
        self.log = AccessLog(self.besides, self._parts_of, self, FakeClock(wall=1000.0))

    def put(self, line):
        self.lines.append(tuple(line))

    def _parts_of(self, name):
        self.asked.append(name)
        return self.parts.get(name, ())


@pytest.fixture
def notes():
    return Notes()


def test_a_request_is_noted_at_its_arrival_and_passed_on(notes):
    notes.log.served("a", is_hit=True, waited_s=0.0, infer_s=0.5, total_s=2.0)
    assert notes.lines == [(998.0, "a", (HEAD,))]
    assert notes.besides.heard == [("served", "a", True, 0.0, 0.5, 2.0)]


def test_parts_are_asked_for_once_and_after_each_load_that_was_waited_for(notes):
    for is_hit in (True, True, False, True):
        notes.log.served("a", is_hit, 0.0, 0.0, 0.0)
        notes.parts["a"] = (GROWN,)
    assert [parts for *_, parts in notes.lines] == [(HEAD,), (HEAD,), (GROWN,), (GROWN,)]
    assert notes.asked == ["a", "a"]


def test_what_was_refused_failed_or_left_is_noted_too(notes):
    overloaded, broken = Overloaded(1), InferenceFailed("no")
    notes.log.failed("a", overloaded, 1.0)
    notes.log.failed("a", broken, 2.0)
    notes.log.left("a", 3.0)
    assert [time for time, *_ in notes.lines] == [999.0, 998.0, 997.0]
    assert notes.besides.heard == [("failed", "a", overloaded, 1.0), ("failed", "a", broken, 2.0), ("left", "a", 3.0)]


def test_a_name_that_no_archive_has_is_not_noted(notes):
    notes.log.failed("made-up", ArchiveNotFound("made-up"), 0.0)
    assert notes.lines == []
    assert len(notes.besides.heard) == 1


def test_an_archive_that_was_never_staged_has_no_parts_yet_and_is_asked_for_again(notes):
    notes.log.failed("new", Overloaded(1), 0.0)
    notes.parts["new"] = (HEAD,)
    notes.log.served("new", is_hit=True, waited_s=0.0, infer_s=0.0, total_s=0.0)
    assert [parts for *_, parts in notes.lines] == [(), (HEAD,)]
