"""What loads hold in passing: guessed from the files, then measured, and told only while the load runs."""

import asyncio
import threading

import pytest

from server.engines.embedded.engine import EmbeddedEngine
from server.engines.embedded.memory import host_memory
from server.engines.embedded.memory.load_peak import LoadPeaks
from tests.fakes import repositories

WEIGHTS = 16_000_000


def step_of(folder):
    return repositories.staged_steps(folder)[0]


@pytest.fixture
def inside(tmp_path):
    """A graph with its weights inside the ONNX file."""
    return step_of(repositories.onnx_linear(tmp_path / "inside", ballast_bytes=WEIGHTS))


@pytest.fixture
def beside(tmp_path):
    """A graph with its weights in a file beside it."""
    return step_of(repositories.onnx_linear(tmp_path / "beside", ballast_bytes=WEIGHTS, is_external=True))


def test_the_guess_counts_weights_inside_the_onnx_file(inside, beside, tmp_path):
    peaks = LoadPeaks()
    assert WEIGHTS < peaks.predicted(inside) < 1.5 * WEIGHTS
    assert peaks.predicted(beside) < 10_000
    assert peaks.predicted(step_of(repositories.python_echo(tmp_path / "echo"))) == 0


def test_a_measured_load_is_remembered(inside):
    peaks = LoadPeaks()
    with peaks.during(inside) as peak:
        assert peaks.current == peaks.predicted(inside) > 0
        peak.passing = 77
    assert peaks.current == 0
    with peaks.during(inside):
        assert peaks.current == 77
    assert peaks.predicted(inside) == 77


def test_a_load_that_fails_teaches_nothing(inside):
    peaks = LoadPeaks()
    guess = peaks.predicted(inside)

    def fail():
        with peaks.during(inside) as peak:
            peak.passing = 77
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert (peaks.current, peaks.predicted(inside)) == (0, guess)


@pytest.mark.skipif(not host_memory.forget_peak(), reason="this kernel does not let a process forget its peak")
async def test_a_real_load_is_measured(inside):
    """At least the weights are there twice for a moment, since they are read, then copied or packed."""
    engine = EmbeddedEngine()
    await engine.start(lambda _: None)
    try:
        await engine.load(inside)
        assert 0.5 * WEIGHTS < engine._peaks.predicted(inside) < 4 * WEIGHTS
        assert engine.passing_bytes() == {"cpu": 0}
    finally:
        await engine.stop()


async def test_the_engine_tells_while_it_loads(inside):
    gate, began = threading.Event(), threading.Event()

    class Gated:
        def load(self, step, config, callees):
            began.set()
            gate.wait(5)
            raise ValueError("enough")

        def close(self):
            pass

    engine = EmbeddedEngine({"onnxruntime": Gated()})
    await engine.start(lambda _: None)
    try:
        load = asyncio.create_task(engine.load(inside))
        await asyncio.to_thread(began.wait, 5)
        assert engine.passing_bytes()["cpu"] > WEIGHTS
        gate.set()
        with pytest.raises(Exception, match="enough"):
            await load
        assert engine.passing_bytes()["cpu"] == 0
    finally:
        gate.set()
        await engine.stop()
