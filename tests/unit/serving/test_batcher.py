"""Which way a request goes: to the engine, or into its archive's line."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from server.archive.model_config import parse, signature
from server.domain.inference import InferenceRequest, Tensor
from server.domain.model import StagedArchive, Step, StepDigest
from server.serving.batcher import Batcher, BatchOptions
from tests.fakes.engine import FakeEngine

pytestmark = pytest.mark.looptime
CONFIG = """backend: 'onnxruntime' max_batch_size: 8 dynamic_batching { }
input { name: 'X' data_type: TYPE_FP32 dims: 1 } output { name: 'X' data_type: TYPE_FP32 dims: 1 }"""


class LoopClock:
    def now(self):
        return asyncio.get_running_loop().time()

    wall = now


class NoLog:
    def ran(self, rows, waited_s):
        pass


class OneAtATime(FakeEngine):
    """Takes a second for each execution, one after the other, first come first served."""

    def __init__(self):
        super().__init__()
        self.turn = asyncio.Lock()
        self.ran = []

    async def infer(self, digest, request):
        async with self.turn:
            await asyncio.sleep(1.0)
            self.ran.append((digest, len(request.inputs["X"].data)))
            return self.answer(digest, request)


def archive_in(folder: Path, name: str, config: str = CONFIG):
    directory = folder / name
    directory.mkdir()
    (directory / "config.pbtxt").write_text(config)
    parsed = parse(config)
    step = Step(StepDigest(name), name, parsed.backend, directory, signature(parsed, directory))
    return StagedArchive(name, "1", step.digest, (step,))


def asked(value=1.0):
    return InferenceRequest({"X": Tensor("X", "FP32", np.array([[value]], np.float32))})


def batcher_of(engine, **options):
    return Batcher(engine, LoopClock(), NoLog(), BatchOptions(**options))


async def test_a_backlog_of_one_archive_delays_another_by_what_runs_and_not_by_what_waits(tmp_path):
    engine = OneAtATime()
    batcher = batcher_of(engine, side_by_side=2)
    busy = archive_in(tmp_path, "busy", CONFIG.replace("max_batch_size: 8", "max_batch_size: 2"))
    quiet = archive_in(tmp_path, "quiet")
    backlog = [asyncio.ensure_future(batcher.infer(busy, asked(value))) for value in range(40)]
    await asyncio.sleep(2.5)
    began = asyncio.get_running_loop().time()
    await batcher.infer(quiet, asked())
    assert asyncio.get_running_loop().time() - began <= 3.0  # two of the other's, and its own
    await asyncio.gather(*backlog)
    assert len(engine.ran) < 25


async def test_an_archive_that_is_not_merged_goes_straight_to_the_engine(tmp_path):
    engine = OneAtATime()
    batcher = batcher_of(engine)
    plain = archive_in(tmp_path, "plain", CONFIG.replace("dynamic_batching { }", ""))
    await asyncio.gather(*(batcher.infer(plain, asked(value)) for value in range(4)))
    assert engine.ran == [("plain", 1)] * 4
    coroutine = batcher.infer(plain, asked())
    assert coroutine.__qualname__ == "OneAtATime.infer"
    await coroutine


async def test_an_archive_without_batches_is_not_even_read(tmp_path):
    batcher = batcher_of(OneAtATime())
    single = archive_in(tmp_path, "single", CONFIG.replace("max_batch_size: 8", ""))
    (tmp_path / "single" / "config.pbtxt").unlink()
    answer = await batcher.infer(single, asked(3.0))
    assert answer.outputs[0].data == 3.0


async def test_each_gets_its_own_row(tmp_path):
    batcher = batcher_of(OneAtATime())
    archive = archive_in(tmp_path, "a")
    answers = await asyncio.gather(*(batcher.infer(archive, asked(value)) for value in range(9)))
    assert [answer.outputs[0].data.item() for answer in answers] == list(range(9))


async def test_entry_models_that_were_met_long_ago_are_forgotten(tmp_path):
    batcher = batcher_of(OneAtATime(), remembered=8)
    for index in range(20):
        await batcher.infer(archive_in(tmp_path, f"a{index}"), asked())
    assert len(batcher._lines) <= 8


async def test_what_need_not_come_here_is_known_once_it_did(tmp_path):
    engine = OneAtATime()
    batcher = batcher_of(engine, side_by_side=1)
    merged = archive_in(tmp_path, "merged")
    plain = archive_in(tmp_path, "plain", CONFIG.replace("dynamic_batching { }", ""))
    for each in (merged, plain):
        assert not batcher.lets_pass(each)
        assert not batcher.runs_apart(each)
        await batcher.infer(each, asked())
        assert batcher.lets_pass(each)
    assert batcher.runs_apart(plain)
    assert not batcher.runs_apart(merged)

    running = [asyncio.ensure_future(batcher.infer(each, asked())) for each in (merged, plain)]
    await asyncio.sleep(0.5)
    assert not batcher.lets_pass(merged)
    assert batcher.lets_pass(plain)
    await asyncio.gather(*running)
