"""Which requests are answered at once: those of archives that have shown to be quick, and no larger ones."""

from dataclasses import replace

import numpy as np
import pytest

from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.domain.payload import Payload
from server.serving.quick_runs import QuickRuns
from tests.fakes.source import archive

REQUEST = InferenceRequest({"X": Tensor("X", "FP32", np.zeros(2, np.float32))})


class QuickFake:
    """Quick as long as it says so."""

    def __init__(self):
        self.is_so = True
        self.has_instance = True

    def is_quick(self, digest, request):
        return self.is_so

    def run_now(self, digest, request):
        return InferenceResponse(()) if self.has_instance else None


class OneLine:
    def __init__(self):
        self.is_free = True
        self.noted = 0

    def lets_pass(self, archive):
        return self.is_free

    def ran_alone(self, archive, request):
        self.noted += 1


@pytest.fixture
def engine():
    return QuickFake()


@pytest.fixture
def line():
    return OneLine()


@pytest.fixture
def runs(engine, line):
    made = QuickRuns(engine, line)
    made.learn("a", archive("a"), Payload(bytes(10)), REQUEST)
    return made


def test_what_was_not_seen_is_not_known(runs):
    assert runs.archive_of("b", Payload(b"")) is None


def test_bodies_up_to_the_largest_seen_may_be_quick(runs):
    found = runs.archive_of("a", Payload(bytes(10)))
    assert found is not None
    assert runs.archive_of("a", Payload(bytes(11))) is None
    runs.learn("a", found, Payload(bytes(20)), REQUEST)
    runs.learn("a", found, Payload(bytes(5)), REQUEST)
    assert runs.archive_of("a", Payload(bytes(20))) is found


def test_new_content_is_learnt_afresh(runs):
    new = replace(archive("a"), version="2")
    runs.learn("a", new, Payload(bytes(3)), REQUEST)
    assert runs.archive_of("a", Payload(bytes(10))) is None
    assert runs.archive_of("a", Payload(bytes(3))) is new


def test_slow_requests_teach_nothing(engine, line):
    engine.is_so = False
    runs = QuickRuns(engine, line)
    runs.learn("a", archive("a"), Payload(b""), REQUEST)
    assert runs.archive_of("a", Payload(b"")) is None


def test_what_is_forgotten_has_to_be_learnt(runs):
    runs.forget("a")
    runs.forget("a")
    assert runs.archive_of("a", Payload(b"")) is None


def test_neither_engine_nor_line_is_passed_by(runs, engine, line):
    content = archive("a")
    assert runs.lets_pass(content, REQUEST)
    line.is_free = False
    assert not runs.lets_pass(content, REQUEST)
    line.is_free, engine.is_so = True, False
    assert not runs.lets_pass(content, REQUEST)
    assert QuickRuns(QuickFake(), None).lets_pass(content, REQUEST)


def test_only_what_ran_is_noted(runs, engine, line):
    assert runs.run(archive("a"), REQUEST) is not None
    engine.has_instance = False
    assert runs.run(archive("a"), REQUEST) is None
    assert line.noted == 1


def test_what_is_known_is_bounded(engine):
    runs = QuickRuns(engine, None, most_known=10)
    for number in range(25):
        runs.learn(f"a{number}", archive(f"a{number}"), Payload(b""), REQUEST)
        assert len(runs) <= 10
    assert runs.archive_of("a24", Payload(b"")) is not None
