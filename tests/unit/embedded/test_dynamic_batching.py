"""Waiting requests of a step share executions, in both hosts of Python steps."""

import asyncio
import os
import threading
from contextlib import asynccontextmanager, nullcontext, suppress

import numpy as np
import pytest

from server.domain.clock import SystemClock
from server.domain.errors import InferenceFailed, InvalidRequest
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.engines.embedded.engine import EmbeddedEngine
from server.engines.embedded.running.batch_rules import BatchRules
from server.engines.embedded.running.dynamic_batches import DynamicBatches
from server.engines.embedded.running.instances import Instances
from server.engines.embedded.running.workers import Workers
from tests.fakes import repositories

SOURCE = """
import os

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    # Each row answers (value * 2, how many requests its execution got). Values below 0 ask for trouble.

    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy() for request in requests]
        if any((array == -7).any() for array in arrays):
            with open(GATE) as gate:
                gate.read()
        if any((array == -2).any() for array in arrays):
            raise ValueError("minus two")
        if any((array == -3).any() for array in arrays):
            return []
        if any((array == -4).any() for array in arrays) and DIES:
            os._exit(3)
        return [self.answer(array, len(requests)) for array in arrays]

    def answer(self, array, count):
        if (array == -1).any():
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("minus one", pb_utils.TritonError.INVALID_ARG))
        told = np.stack([array[:, 0] * 2, np.full(len(array), count, np.float32)], axis=1)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", told)])
"""
HOSTS = ["in-process", "isolated"]


class Busy:
    """An engine with the step `count` whose one instance is kept busy until `release`."""

    def __init__(self, engine, step, gate):
        self.engine, self.digest, self.gate = engine, step.digest, gate

    async def ask(self, *rows):
        data = np.array([list(row) for row in rows], np.float32)
        request = InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", data)})
        answer = await self.engine.infer(self.digest, request)
        return answer.outputs[0].data.tolist()

    @asynccontextmanager
    async def occupied(self):
        """A block in which the instance is busy with a request of its own."""
        first = asyncio.create_task(self.ask((-7,)))
        descriptor = None
        while descriptor is None:
            await asyncio.sleep(0)
            with suppress(OSError):  # nobody reads yet
                descriptor = os.open(self.gate, os.O_WRONLY | os.O_NONBLOCK)
        yield
        os.close(descriptor)
        assert (await first)[0][1] == 1

    async def gathered(self, *each):
        """Ask all of them while the instance is busy; gives their outcomes."""
        async with self.occupied():
            tasks = [asyncio.create_task(self.ask(*rows)) for rows in each]
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def busy(tmp_path):
    engines = []

    async def make(host="in-process", batching="dynamic_batching {}", ragged=""):
        engine = EmbeddedEngine()
        await engine.start(lambda lost: None)
        engines.append(engine)
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        folder = repositories.python_model(
            tmp_path / "count",
            f"GATE = {str(gate)!r}\nDIES = {host == 'isolated'}\n{SOURCE}",
            "max_batch_size: 4",
            f"input [ {repositories.tensor_entry('INPUT0', 'FP32', [-1], ragged)} ]",
            f"output [ {repositories.tensor_entry('OUTPUT0', 'FP32', [2])} ]",
            f'parameters {{ key: "EXECUTION" value: {{ string_value: "{host}" }} }}',
            batching,
        )
        (step,) = repositories.staged_steps(folder)
        await engine.load(step)
        return Busy(engine, step, gate)

    yield make
    for engine in engines:
        await engine.stop()


@pytest.mark.parametrize("host", HOSTS)
async def test_a_free_instance_takes_all_who_wait(busy, host):
    step = await busy(host)
    assert await step.gathered([(1,)], [(2,), (3,)], [(4,)]) == [[[2, 3]], [[4, 3], [6, 3]], [[8, 3]]]


async def test_batches_are_limited_by_rows(busy):
    step = await busy()
    answers = await step.gathered([(1,), (1,), (1,)], [(2,), (2,)], [(3,)])
    assert [answer[0] for answer in answers] == [[2, 1], [4, 2], [6, 2]]


async def test_other_shapes_run_apart(busy):
    step = await busy()
    assert await step.gathered([(1,)], [(2, 9)], [(3, 9)]) == [[[2, 1]], [[4, 2]], [[6, 2]]]


async def test_without_dynamic_batching_each_runs_by_itself(busy):
    step = await busy(batching="")
    assert await step.gathered([(1,)], [(2,)]) == [[[2, 1]], [[4, 1]]]


@pytest.mark.parametrize("host", HOSTS)
async def test_an_error_answer_is_its_own_request_s(busy, host):
    step = await busy(host)
    first, second, third = await step.gathered([(1,)], [(-1,)], [(3,)])
    assert (first, third) == ([[2, 3]], [[6, 3]])
    assert isinstance(second, InvalidRequest)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("trouble", [-2, -3], ids=["raises", "gives no answers"])
async def test_who_fails_the_execution_fails_alone(busy, host, trouble):
    step = await busy(host)
    first, second, third = await step.gathered([(1,)], [(trouble,)], [(3,)])
    assert (first, third) == ([[2, 1]], [[6, 1]])  # each ran again by itself
    assert isinstance(second, InferenceFailed)


async def test_who_kills_the_worker_fails_alone(busy):
    step = await busy("isolated")
    first, second = await step.gathered([(-4,)], [(3,)])
    assert isinstance(first, InferenceFailed)
    assert second == [[6, 1]]


async def test_who_is_cancelled_while_waiting_does_not_run(busy):
    step = await busy()
    async with step.occupied():
        leaving, staying = (asyncio.create_task(step.ask((value,))) for value in (1, 2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
    assert await staying == [[4, 1]]
    assert leaving.cancelled()


async def test_a_batch_waits_for_company_as_long_as_its_config_allows(busy):
    step = await busy(batching="dynamic_batching { max_queue_delay_microseconds: 600000000 }")
    answers = await asyncio.gather(*(step.ask((value,)) for value in range(4)))
    assert answers == [[[2 * value, 4]] for value in range(4)]


async def test_nobody_waits_for_ever_for_company(busy):
    step = await busy(batching="dynamic_batching { max_queue_delay_microseconds: 1000 }")
    assert await step.ask((1,)) == [[2, 1]]


async def test_ensembles_bring_several_requests_to_a_step_at_once(busy, tmp_path):
    step = await busy(batching="dynamic_batching { max_queue_delay_microseconds: 600000000 }")
    repositories.chain_ensemble(tmp_path / "pipeline", ["count"], input_dims=[-1], output_dims=[2], max_batch_size=4)
    steps = repositories.staged_steps(tmp_path)
    await step.engine.load(steps[-1])
    step.digest = steps[-1].digest
    answers = await asyncio.gather(*(step.ask((value,)) for value in range(4)))
    assert answers == [[[2 * value, 4]] for value in range(4)]


CALLER = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        called = pb_utils.InferenceRequest(
            model_name="count",
            requested_output_names=["OUTPUT0"],
            inputs=[pb_utils.get_input_tensor_by_name(request, "INPUT0")],
        ).exec()
        if called.has_error():
            return pb_utils.InferenceResponse(error=called.error())
        return pb_utils.InferenceResponse([pb_utils.get_output_tensor_by_name(called, "OUTPUT0")])
"""


@pytest.mark.parametrize("host", HOSTS)
async def test_a_batch_may_call_other_steps(busy, tmp_path, host):
    step = await busy()
    repositories.python_model(
        tmp_path / "caller",
        CALLER,
        "max_batch_size: 4",
        f"input [ {repositories.tensor_entry('INPUT0', 'FP32', [-1])} ]",
        f"output [ {repositories.tensor_entry('OUTPUT0', 'FP32', [2])} ]",
        f'parameters {{ key: "EXECUTION" value: {{ string_value: "{host}" }} }}',
        'parameters { key: "CALLS" value: { string_value: "count" } }',
        "dynamic_batching { max_queue_delay_microseconds: 600000000 }",
    )
    caller = next(each for each in repositories.staged_steps(tmp_path) if each.name == "caller")
    await step.engine.load(caller)
    step.digest = caller.digest
    answers = await asyncio.gather(*(step.ask((value,)) for value in (1, -1, 2, 3)), return_exceptions=True)
    assert answers[0] == [[2, 1]]
    assert isinstance(answers[1], InvalidRequest)
    assert answers[2:] == [[[4, 1]], [[6, 1]]]


@pytest.mark.parametrize("error", [None, InferenceFailed("no"), ValueError("no")], ids=repr)
def test_an_idle_step_runs_on_the_thread_that_asks(error):
    """A hop to another thread and back would be for nothing."""
    ran_on = []

    def execute_all(requests):
        ran_on.append(threading.current_thread())
        if isinstance(error, ValueError):
            raise error
        return [error or InferenceResponse(()) for _ in requests]

    batches = DynamicBatches(BatchRules(4), Instances(1), Workers("nobody"), execute_all, SystemClock())
    for _ in range(2):  # the instance comes back
        with nullcontext() if error is None else pytest.raises(type(error)):
            batches.run(InferenceRequest({}))
    assert ran_on == [threading.current_thread()] * 2
