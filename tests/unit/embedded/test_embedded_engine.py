"""The engine's own promises, with a backend whose steps wait for the test."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from server.domain.errors import Bug, InferenceFailed, InvalidRequest, LoadFailed, UnsupportedModel
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.engines.embedded.engine import EmbeddedEngine
from tests.fakes import repositories


class GatedStep:
    """Echoes INPUT0 once `gate` is open; counts how many run at once."""

    def __init__(self, backend):
        self.backend = backend

    def execute(self, request):
        with self.backend.lock:
            self.backend.running += 1
            self.backend.most = max(self.backend.most, self.backend.running)
        self.backend.started.release()
        self.backend.gate.wait(5)
        with self.backend.lock:
            self.backend.running -= 1
        if self.backend.fault:
            raise self.backend.fault
        return InferenceResponse((Tensor("OUTPUT0", "FP32", request.inputs["INPUT0"].data),))

    def stream(self, request):
        for i in range(3):
            yield InferenceResponse((Tensor("OUTPUT0", "FP32", request.inputs["INPUT0"].data + i),))

    def outside_bytes(self):
        return 5 << 20

    def close(self):
        self.backend.history.append("closed")


class GatedBackend:
    def __init__(self):
        self.gate, self.loads = threading.Event(), threading.Event()
        self.gate.set()
        self.loads.set()
        self.lock, self.started = threading.Lock(), threading.Semaphore(0)
        self.running = self.most = 0
        self.fault = None
        self.history = []

    def load(self, step, config, callees):
        self.history.append("loading")
        self.loads.wait(5)
        if self.fault:
            raise self.fault
        return GatedStep(self)

    def close(self):
        self.history.append("backend closed")


@pytest.fixture
def backend():
    backend = GatedBackend()
    yield backend
    backend.gate.set()
    backend.loads.set()


@pytest.fixture
async def engine(backend):
    engine = EmbeddedEngine({"gated": backend})
    await engine.start(lambda lost: None)
    yield engine
    backend.gate.set()
    await engine.stop()


def gated(folder: Path, extra="", name="gated"):
    repositories.onnx_identity(folder / name, extra=extra)
    config = folder / name / "config.pbtxt"
    config.write_text(config.read_text().replace("onnxruntime", "gated"))
    return folder


def step_of(root):
    return repositories.staged_steps(root)[-1]


def request(batch=1):
    return InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", np.ones((batch, 4), np.float32))})


async def begin(engine, backend, step, count):
    """Start `count` requests; wait until one of them runs."""
    backend.gate.clear()
    tasks = [asyncio.create_task(engine.infer(step.digest, request())) for _ in range(count)]
    assert await asyncio.to_thread(backend.started.acquire, timeout=5)
    return tasks


async def test_instance_groups_limit_how_many_run_at_once(engine, backend, tmp_path):
    step = step_of(gated(tmp_path, "instance_group { count: 2 kind: KIND_CPU }"))
    await engine.load(step)
    tasks = await begin(engine, backend, step, 10)
    backend.gate.set()
    await asyncio.gather(*tasks)
    assert backend.most <= 2


async def test_unloading_waits_for_what_runs(engine, backend, tmp_path):
    step = step_of(gated(tmp_path))
    await engine.load(step)
    (running,) = await begin(engine, backend, step, 1)
    unloading = asyncio.create_task(engine.unload(step.digest))
    await asyncio.sleep(0)
    assert "closed" not in backend.history
    backend.gate.set()
    assert (await running).outputs
    await unloading
    assert backend.history[-1] == "closed"


async def test_a_cancelled_request_keeps_its_instance_until_it_has_ended(engine, backend, tmp_path):
    step = step_of(gated(tmp_path))
    await engine.load(step)
    (running,) = await begin(engine, backend, step, 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert engine.describe()["running"] == 1
    backend.gate.set()
    assert (await engine.infer(step.digest, request())).outputs


async def test_who_waits_for_an_instance_of_an_unloaded_step_fails(engine, backend, tmp_path):
    step = step_of(gated(tmp_path))
    await engine.load(step)
    tasks = await begin(engine, backend, step, 2)
    unloading = asyncio.create_task(engine.unload(step.digest))
    backend.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    await unloading
    assert all(isinstance(answer, InferenceResponse | InferenceFailed) for answer in answers)


async def test_a_cancelled_load_is_undone(engine, backend, tmp_path):
    step = step_of(gated(tmp_path))
    backend.loads.clear()
    loading = asyncio.create_task(engine.load(step))
    while "loading" not in backend.history:
        await asyncio.sleep(0)
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)
    backend.loads.set()
    await engine.load(step)  # waits for the cancelled one, which frees what it loaded
    assert backend.history == ["loading", "closed", "loading"]


async def test_memory_outside_the_process_is_charged(engine, tmp_path):
    assert (await engine.load(step_of(gated(tmp_path)))).on("cpu") >= 5 << 20


@pytest.mark.parametrize("fault", [RuntimeError("no luck"), SystemExit(3)])
async def test_whatever_a_backend_raises_is_a_failed_load(engine, backend, tmp_path, fault):
    backend.fault = fault
    with pytest.raises(LoadFailed, match="'gated' failed to load"):
        await engine.load(step_of(gated(tmp_path)))


@pytest.mark.parametrize("fault", [ZeroDivisionError("by zero"), SystemExit("by zero")])
async def test_whatever_a_model_raises_is_a_failed_inference(engine, backend, tmp_path, fault):
    step = step_of(gated(tmp_path))
    await engine.load(step)
    backend.fault = fault
    with pytest.raises(InferenceFailed, match=r"'gated' failed: (ZeroDivisionError|SystemExit): by zero"):
        await engine.infer(step.digest, request())


async def test_wrong_requests_are_refused_before_they_wait(engine, backend, tmp_path):
    step = step_of(gated(tmp_path))
    await engine.load(step)
    tasks = await begin(engine, backend, step, 1)
    with pytest.raises(InvalidRequest, match="batch size"):
        await engine.infer(step.digest, request(batch=9))
    backend.gate.set()
    assert len(await asyncio.gather(*tasks)) == 1


async def test_decoupled_steps_stream_and_do_not_infer(engine, tmp_path):
    step = step_of(gated(tmp_path, "model_transaction_policy { decoupled: true }"))
    await engine.load(step)
    with pytest.raises(UnsupportedModel, match="decoupled"):
        await engine.infer(step.digest, request())
    answers = [answer.outputs[0].data[0, 0] async for answer in engine.stream(step.digest, request())]
    assert answers == [1, 2, 3]


async def test_ensembles_of_steps_with_one_instance_do_not_lock_each_other(engine, backend, tmp_path):
    gated(tmp_path, name="one")
    gated(tmp_path, name="two")
    repositories.chain_ensemble(tmp_path / "pipeline", ["one", "two"])
    steps = repositories.staged_steps(tmp_path)
    for step in steps:
        await engine.load(step)
    answers = await asyncio.wait_for(
        asyncio.gather(*(engine.infer(steps[-1].digest, request()) for _ in range(50))), timeout=20
    )
    assert len(answers) == 50
    assert backend.most <= 2  # of both steps together


async def test_a_step_is_not_loaded_before_those_that_it_calls(engine, tmp_path):
    steps = repositories.staged_steps(repositories.linear_pipeline(tmp_path))
    with pytest.raises(Bug, match=r"\['encoder', 'head'\]"):
        await engine.load(steps[-1])


async def test_stopping_closes_steps_before_backends(engine, backend, tmp_path):
    await engine.load(step_of(gated(tmp_path)))
    await engine.stop()
    assert backend.history == ["loading", "closed", "backend closed"]
    assert not engine.is_ready
