"""The engine runs on the caller's thread what has shown to be quick, and nothing else."""

import numpy as np
import pytest

from server.domain.errors import InferenceFailed, InvalidRequest
from server.domain.inference import InferenceRequest, Tensor
from server.domain.model import StepDigest
from server.domain.ports import QuickEngine
from server.engines.embedded.engine import EmbeddedEngine
from server.engines.embedded.running.pace import PROOF
from tests.fakes import repositories


def request(columns=4):
    return InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", np.ones((1, columns), np.float32))})


@pytest.fixture
async def engine():
    made = EmbeddedEngine()
    await made.start(lambda _: None)
    yield made
    await made.stop()


@pytest.fixture
async def digest(engine, tmp_path):
    repositories.onnx_linear(tmp_path / "linear")
    [step] = repositories.staged_steps(tmp_path)
    await engine.load(step)
    return step.digest


def show_quick(engine, digest, size):
    """As so many quick runs would; how quick they are here is not this test's business."""
    for _ in range(2 * PROOF):
        engine._residents[digest].pace.note(size, 1e-5)


async def test_what_has_shown_nothing_is_not_quick(engine, digest):
    assert isinstance(engine, QuickEngine)
    assert not engine.is_quick(digest, request())
    assert not engine.is_quick(StepDigest("0" * 64), request())


async def test_what_is_quick_gives_the_usual_answer_now(engine, digest):
    usual = await engine.infer(digest, request())
    show_quick(engine, digest, 16)
    assert engine.is_quick(digest, request())
    now = engine.run_now(digest, request())
    assert now is not None
    np.testing.assert_array_equal(now.outputs[0].data, usual.outputs[0].data)


async def test_without_a_free_instance_nothing_runs(engine, digest):
    instances = engine._residents[digest].instances
    while instances.take_now():
        pass
    assert engine.run_now(digest, request()) is None
    for _ in range(instances.count):
        instances.give()
    assert engine.run_now(digest, request()) is not None


async def test_errors_are_the_usual_ones(engine, digest):
    with pytest.raises(InvalidRequest):
        engine.run_now(digest, request(columns=3))
    with pytest.raises(InferenceFailed):
        engine.run_now(StepDigest("0" * 64), request())
