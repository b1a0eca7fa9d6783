"""What dies comes back: tritonserver killed at any moment, and Python processes that exit."""

import asyncio
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from server.domain.errors import EngineLost, InferenceFailed
from server.domain.inference import InferenceRequest, Tensor
from server.engines.triton.options import TritonOptions
from tests.differential.engines import running_triton, staged
from tests.fakes import repositories

pytestmark = [pytest.mark.triton, pytest.mark.slow]

INPUT = Tensor("INPUT0", "FP32", np.arange(4, dtype=np.float32).reshape(1, 4))
REQUEST = InferenceRequest({"INPUT0": INPUT})
IO = (
    "max_batch_size: 8",
    'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]',
    'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]',
)
STALLS = """
import pathlib
import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def {method}(self, _argument):
        pathlib.Path("{reached}").touch()
        time.sleep(600)
{rest}
"""
DIES_ONCE = """
import os
import pathlib
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        flag = pathlib.Path("{flag}")
        if not flag.exists():
            flag.touch()
            os._exit(3)
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUTPUT0", pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy())]
            )
            for request in requests
        ]
"""


def family(engine):
    """Tritonserver and all its processes."""
    server = psutil.Process(engine.describe()["pid"])
    return [server, *server.children(recursive=True)]


def segments(run):
    """Shared memory of the tritonservers of that runtime folder."""
    return [
        segment for folder in run.glob("triton-*") for segment in Path("/dev/shm").glob(f"roundhouse_{folder.name}_*")
    ]


async def reached(path):
    while not path.exists():
        await asyncio.sleep(0.01)


async def load_all(engine, archive):
    for step in archive.steps:
        await engine.load(step)


async def test_killed_during_an_inference(tmp_path):
    lost = []
    reached_flag = tmp_path / "reached"
    source = STALLS.format(method="execute", reached=reached_flag, rest="")
    stalling = staged(repositories.python_model(tmp_path / "stalling", source, *IO))
    echo = staged(repositories.python_echo(tmp_path / "echo"))
    async with running_triton(tmp_path / "run", lost) as engine:
        await load_all(engine, echo)
        await load_all(engine, stalling)
        before = family(engine)
        running = asyncio.create_task(engine.infer(stalling.entry, REQUEST))
        await reached(reached_flag)
        before[0].send_signal(signal.SIGKILL)
        with pytest.raises(EngineLost):
            await running
        await engine.load(echo.entry_step)  # waits for the restart
        assert sorted(lost) == sorted([echo.entry, stalling.entry])
        assert [process for process in before if process.is_running()] == []
        answer = await engine.infer(echo.entry, REQUEST)
        np.testing.assert_array_equal(answer.outputs[0].data, INPUT.data)
        assert engine.describe()["restarts"] == 1
        with pytest.raises(EngineLost):
            await engine.infer(stalling.entry, REQUEST)
        after = family(engine)
        shared = segments(tmp_path / "run")
        assert len(shared) == 1
    assert [process for process in after if process.is_running()] == []
    assert [segment for segment in shared if segment.exists()] == []
    assert list((tmp_path / "run").iterdir()) == []


async def test_killed_during_a_load(tmp_path):
    lost = []
    reached_flag = tmp_path / "reached"
    rest = "    def execute(self, requests):\n        return []"
    source = STALLS.format(method="initialize", reached=reached_flag, rest=rest)
    stalling = staged(repositories.python_model(tmp_path / "stalling", source, *IO))
    echo = staged(repositories.python_echo(tmp_path / "echo"))
    async with running_triton(tmp_path / "run", lost) as engine:
        await load_all(engine, echo)
        before = family(engine)
        loading = asyncio.create_task(engine.load(stalling.entry_step))
        await reached(reached_flag)
        before += family(engine)
        before[0].send_signal(signal.SIGKILL)
        with pytest.raises(EngineLost):
            await loading
        await load_all(engine, echo)
        assert lost == [echo.entry]
        assert [process for process in before if process.is_running()] == []
        assert (await engine.infer(echo.entry, REQUEST)).outputs[0].shape == (1, 4)


async def test_a_python_process_that_exits_takes_its_callers_along_and_nothing_else(tmp_path):
    lost = []
    flag = tmp_path / "flag"
    root = tmp_path / "pipeline"
    repositories.python_model(root / "dying", DIES_ONCE.format(flag=flag), *IO)
    repositories.python_echo(root / "echo")
    repositories.chain_ensemble(root / "pipeline", ["echo", "dying"])
    pipeline = staged(root)
    by_name = {step.name: step for step in pipeline.steps}
    async with running_triton(tmp_path / "run", lost) as engine:
        await load_all(engine, pipeline)
        with pytest.raises(InferenceFailed, match="dying"):
            await engine.infer(pipeline.entry, REQUEST)
        assert lost == [by_name["pipeline"].digest, by_name["dying"].digest]
        with pytest.raises(EngineLost):
            await engine.infer(pipeline.entry, REQUEST)
        await engine.load(by_name["dying"])
        await engine.load(by_name["pipeline"])
        answer = await engine.infer(pipeline.entry, REQUEST)
        np.testing.assert_array_equal(answer.outputs[0].data, INPUT.data)
        assert engine.describe()["restarts"] == 0


async def test_a_cancelled_load_leaves_nothing_behind(tmp_path):
    reached_flag = tmp_path / "reached"
    source = STALLS.replace("600", "1").format(
        method="initialize", reached=reached_flag, rest="    def execute(self, requests):\n        return []"
    )
    slow = staged(repositories.python_model(tmp_path / "slow", source, *IO))
    echo = staged(repositories.python_echo(tmp_path / "echo"))
    async with running_triton(tmp_path / "run") as engine:
        loading = asyncio.create_task(engine.load(slow.entry_step))
        await reached(reached_flag)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        await load_all(engine, echo)
        while len(family(engine)) > 2:
            await asyncio.sleep(0.05)
        assert (await engine.infer(echo.entry, REQUEST)).outputs[0].shape == (1, 4)


async def test_a_cancelled_inference_does_not_hinder_the_unload(tmp_path):
    reached_flag = tmp_path / "reached"
    source = STALLS.replace("600", "1").format(method="execute", reached=reached_flag, rest="        return []")
    slow = staged(repositories.python_model(tmp_path / "slow", source, *IO))
    options = TritonOptions(tmp_path, unload_timeout_s=3600)  # so that nothing is killed to get there
    async with running_triton(tmp_path / "run", options=options) as engine:
        await load_all(engine, slow)
        running = asyncio.create_task(engine.infer(slow.entry, REQUEST))
        await reached(reached_flag)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await engine.unload(slow.entry)
        assert len(family(engine)) == 1
