"""`response_cache { enable: true }` in the embedded engine: what is asked again is not run again."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from server.domain.errors import InferenceFailed
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.engines.embedded.answers.remembered_answers import RememberedAnswers
from server.engines.embedded.engine import EmbeddedEngine
from tests.fakes import repositories

CACHED = "response_cache { enable: true }"


class CountingStep:
    """OUTPUT0 = INPUT0 (the very same memory), and notes every execution."""

    def __init__(self, backend):
        self.backend = backend

    def execute(self, request):
        with self.backend.lock:
            self.backend.runs += 1
        self.backend.started.release()
        assert self.backend.gate.wait(5)
        if self.backend.fault:
            raise self.backend.fault
        return InferenceResponse((Tensor("OUTPUT0", "FP32", request.inputs["INPUT0"].data),))

    def stream(self, request):
        yield self.execute(request)

    def outside_bytes(self):
        return 0

    def close(self):
        self.backend.closed += 1


class CountingBackend:
    def __init__(self):
        self.lock, self.gate, self.started = threading.Lock(), threading.Event(), threading.Semaphore(0)
        self.gate.set()
        self.runs = self.closed = 0
        self.fault = None

    def load(self, step, config, callees):
        return CountingStep(self)

    def close(self):
        """Nothing is shared."""


@pytest.fixture
def backend():
    backend = CountingBackend()
    yield backend
    backend.gate.set()


@pytest.fixture
async def engine(backend):
    engine = EmbeddedEngine({"counting": backend}, response_cache_bytes=4096)
    await engine.start(lambda lost: None)
    yield engine
    backend.gate.set()
    await engine.stop()


def counting(root, name="counting", extra=CACHED):
    repositories.onnx_identity(root / name, extra=extra, dims=(-1,))
    config = root / name / "config.pbtxt"
    config.write_text(config.read_text().replace("onnxruntime", "counting"))
    return root


async def loaded(engine, root):
    steps = repositories.staged_steps(root)
    for step in steps:
        await engine.load(step)
    return steps[-1].digest


def request(*values, outputs=(), **parameters):
    data = np.array([values or [1]], dtype=np.float32)
    return InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", data)}, outputs, parameters=parameters)


async def test_the_second_equal_request_does_not_run(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    first, second = [await engine.infer(step, request(1, 2)) for _ in range(2)]
    assert backend.runs == 1
    assert first.outputs[0].data.tolist() == second.outputs[0].data.tolist() == [[1, 2]]
    facts = engine.describe()["response_cache"]
    assert (facts["hits"], facts["misses"], facts["entries"], facts["bytes"]) == (1, 1, 1, 8)


async def test_other_contents_outputs_and_parameters_run(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    for each in (request(1), request(2), request(1, outputs=("OUTPUT0",)), request(1, tone="warm"), request(1, 1)):
        await engine.infer(step, each)
    assert backend.runs == 5


async def test_without_the_switch_in_the_config_everything_runs(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path, extra=""))
    for _ in range(2):
        await engine.infer(step, request(1))
    assert backend.runs == 2


async def test_a_server_without_a_cache_runs_everything(backend, tmp_path):
    engine = EmbeddedEngine({"counting": backend})
    await engine.start(lambda lost: None)
    step = await loaded(engine, counting(tmp_path))
    for _ in range(2):
        await engine.infer(step, request(1))
    assert (backend.runs, engine.describe()["response_cache"]) == (2, None)
    await engine.stop()


async def test_what_is_handed_out_cannot_be_changed_and_shares_no_memory_with_the_request(engine, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    asked = request(1, 2)
    for _ in range(2):
        answer = (await engine.infer(step, asked)).outputs[0].data
        assert not np.shares_memory(answer, asked.inputs["INPUT0"].data)
        with pytest.raises(ValueError, match="read-only"):
            answer[0] = 9


async def test_equal_requests_in_flight_run_once(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    backend.gate.clear()
    tasks = [asyncio.create_task(engine.infer(step, request(1))) for _ in range(8)]
    assert await asyncio.to_thread(backend.started.acquire, timeout=5)
    backend.gate.set()
    answers = await asyncio.gather(*tasks)
    assert backend.runs == 1
    assert all(answer.outputs[0].data.tolist() == [[1]] for answer in answers)
    assert engine.describe()["response_cache"]["hits"] == 7


async def test_a_failure_is_not_kept(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    backend.fault = InferenceFailed("no")
    with pytest.raises(InferenceFailed):
        await engine.infer(step, request(1))
    backend.fault = None
    assert (await engine.infer(step, request(1))).outputs[0].data.tolist() == [[1]]
    assert backend.runs == 2


async def test_who_followed_a_failure_asks_for_itself(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    backend.gate.clear()
    backend.fault = InferenceFailed("no")
    tasks = [asyncio.create_task(engine.infer(step, request(1))) for _ in range(3)]
    assert await asyncio.to_thread(backend.started.acquire, timeout=5)
    backend.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [InferenceFailed] * 3
    assert backend.runs == 3


async def test_a_leader_that_leaves_the_line_gives_its_place_to_a_follower(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path, extra=CACHED + " instance_group { count: 1 kind: KIND_CPU }"))
    backend.gate.clear()
    blocking = asyncio.create_task(engine.infer(step, request(0)))
    assert await asyncio.to_thread(backend.started.acquire, timeout=5)
    leader, follower = [asyncio.create_task(engine.infer(step, request(1))) for _ in range(2)]
    for _ in range(3):
        await asyncio.sleep(0)
    leader.cancel()
    backend.gate.set()
    assert (await follower).outputs[0].data.tolist() == [[1]]
    await blocking
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert backend.runs == 2


async def test_a_cancelled_follower_takes_nobody_with_it(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    backend.gate.clear()
    leader, cancelled, other = [asyncio.create_task(engine.infer(step, request(1))) for _ in range(3)]
    assert await asyncio.to_thread(backend.started.acquire, timeout=5)
    cancelled.cancel()
    backend.gate.set()
    answers = await asyncio.gather(leader, other)
    assert [answer.outputs[0].data.tolist() for answer in answers] == [[[1]], [[1]]]
    assert backend.runs == 1
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_unloading_drops_the_answers(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    await engine.infer(step, request(1))
    await engine.unload(step)
    assert engine.describe()["response_cache"]["bytes"] == 0
    await loaded(engine, tmp_path)
    await engine.infer(step, request(1))
    assert backend.runs == 2


async def test_the_oldest_answers_leave_and_what_is_too_large_is_not_kept(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    for first in (1, 2, 3):
        await engine.infer(step, request(first, *[0] * 499))  # 2000 bytes each; two fit
    await engine.infer(step, request(3, *[0] * 499))
    assert backend.runs == 3
    await engine.infer(step, request(1, *[0] * 499))
    assert backend.runs == 4
    for _ in range(2):
        answer = await engine.infer(step, request(*[7] * 5000))
        assert not answer.outputs[0].data.flags.writeable
    assert backend.runs == 6
    assert engine.describe()["response_cache"]["evictions"] == 2


async def test_a_step_of_an_ensemble_answers_from_memory_too(engine, backend, tmp_path):
    counting(tmp_path)
    repositories.onnx_identity(tmp_path / "plain", dims=(-1,))
    repositories.chain_ensemble(tmp_path / "all", ["counting", "plain"], input_dims=(-1,), output_dims=(-1,))
    entry = await loaded(engine, tmp_path)
    for _ in range(2):
        answer = await engine.infer(entry, request(1, 2))
        assert answer.outputs[0].data.tolist() == [[1, 2]]
    assert backend.runs == 1


async def test_a_stream_answers_from_memory_too(engine, backend, tmp_path):
    step = await loaded(engine, counting(tmp_path))
    await engine.infer(step, request(1))
    answers = [answer async for answer in engine.stream(step, request(1))]
    assert ([answer.outputs[0].data.tolist() for answer in answers], backend.runs) == ([[[1]]], 1)


async def test_what_warms_a_step_up_is_not_kept(engine, backend, tmp_path):
    warm = (
        'model_warmup { name: "zeros" batch_size: 1 inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: 1 '
        "zero_data: true } } }"
    )
    await loaded(engine, counting(tmp_path, extra=f"{CACHED} {warm}"))
    assert backend.runs == 1
    assert engine.describe()["response_cache"]["entries"] == 0


def test_threads_that_ask_the_same_run_it_once():
    answers, runs, gate = RememberedAnswers(1000), [], threading.Event()
    answers.open("step")

    def run():
        runs.append(1)
        assert gate.wait(5)
        return InferenceResponse((Tensor("OUTPUT0", "FP32", np.zeros(3, np.float32)),))

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(answers.answer, "step", request(1), run) for _ in range(4)]
        gate.set()
        got = [each.result(5) for each in asked]
    assert len(runs) == 1
    assert all(each.outputs[0].data.tolist() == [0, 0, 0] for each in got)


def test_an_answer_that_comes_after_its_step_has_gone_is_not_kept():
    answers = RememberedAnswers(1000)
    answers.open("step")

    def run():
        answers.close("step")
        return InferenceResponse((Tensor("OUTPUT0", "FP32", np.zeros(3, np.float32)),))

    assert answers.answer("step", request(1), run).outputs[0].data.tolist() == [0, 0, 0]
    assert answers.facts()["entries"] == 0


async def test_a_step_that_batches_answers_from_memory_too(tmp_path):
    engine = EmbeddedEngine(response_cache_bytes=4096)
    await engine.start(lambda lost: None)
    repositories.onnx_identity(tmp_path / "plain", extra=f"{CACHED} dynamic_batching {{ }}", dims=(-1,))
    step = await loaded(engine, tmp_path)
    asked = [engine.infer(step, request(value)) for value in (1, 2, 1, 2, 1)]
    answers = await asyncio.gather(*asked)
    assert [answer.outputs[0].data.tolist() for answer in answers] == [[[1]], [[2]], [[1]], [[2]], [[1]]]
    assert engine.describe()["response_cache"]["misses"] == 2
    await engine.stop()
