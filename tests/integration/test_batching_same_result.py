"""A result does not depend on what it was batched with: real ensembles on the real engine, merged against alone."""

import asyncio
import random

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from server.domain.clock import SystemClock
from server.domain.errors import InvalidRequest
from server.domain.inference import InferenceRequest, Tensor
from server.domain.model import StagedArchive
from server.engines.embedded.engine import EmbeddedEngine
from server.serving.batcher import Batcher, BatchOptions
from tests.fakes import repositories

TOKENIZE = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    # Bytes as ids from 1 on, padded with 0 to the longest text of a request.

    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(each, "INPUT0").as_numpy()[:, 0]) for each in requests]

    def answer(self, texts):
        if any(text == b"bad" for text in texts):
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("bad text", pb_utils.TritonError.INVALID_ARG))
        ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
        for row, text in zip(ids, texts):
            row[: len(text)] = np.frombuffer(text, np.uint8).astype(np.int64) + 1
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", ids)])
"""
DIMS = 16


def mean_of_embeddings(folder):
    """OUTPUT0 [batch, 16] = the mean of the embeddings of all ids but 0."""
    table = np.random.default_rng(0).standard_normal((257, DIMS), dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "INPUT0"], ["embedded"]),
        helper.make_node("Greater", ["INPUT0", "zero"], ["is_text"]),
        helper.make_node("Cast", ["is_text"], ["flat_mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["flat_mask", "last"], ["mask"]),
        helper.make_node("Mul", ["embedded", "mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "axis"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], ["OUTPUT0"]),
    ]
    constants = {"table": table, "zero": np.array(0), "last": np.array([2]), "axis": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("INPUT0", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, ["batch", DIMS])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    repositories.save_onnx(folder, graph)
    repositories.write_config(
        folder,
        "backend: 'onnxruntime' max_batch_size: 16",
        "input { name: 'INPUT0' data_type: TYPE_INT64 dims: -1 }",
        f"output {{ name: 'OUTPUT0' data_type: TYPE_FP32 dims: {DIMS} }}",
    )


def text_repository(root):
    repositories.python_model(
        root / "tokenize",
        TOKENIZE,
        "max_batch_size: 16",
        "input { name: 'INPUT0' data_type: TYPE_STRING dims: 1 }",
        "output { name: 'OUTPUT0' data_type: TYPE_INT64 dims: -1 }",
        "parameters { key: 'EXECUTION' value { string_value: 'in-process' } }",
    )
    mean_of_embeddings(root / "encoder")
    folder = repositories.chain_ensemble(root / "entry", ["tokenize", "encoder"], max_batch_size=16)
    config = folder / "config.pbtxt"
    written = config.read_text().replace("TYPE_FP32 dims: [ 4 ]", "TYPE_STRING dims: [ 1 ]", 1)
    config.write_text(written.replace("TYPE_FP32 dims: [ 4 ]", f"TYPE_FP32 dims: [ {DIMS} ]"))
    return root


class Log:
    def __init__(self):
        self.rows = []

    def ran(self, rows, waited_s):
        self.rows.append(rows)


class Served:
    """An archive on the embedded engine, with and without merging."""

    def __init__(self, engine, steps):
        self.archive = StagedArchive("a", "1", steps[-1].digest, steps, "sentence-embedding")
        self.engine, self.log = engine, Log()
        self.batcher = Batcher(engine, SystemClock(), self.log, BatchOptions(side_by_side=2))

    async def alone(self, request):
        return (await self.engine.infer(self.archive.entry, request)).outputs[0].data

    async def merged(self, request):
        return (await self.batcher.infer(self.archive, request)).outputs[0].data


@pytest.fixture
async def engine():
    made = EmbeddedEngine()
    await made.start(lambda _lost: None)
    yield made
    await made.stop()


async def served(engine, root):
    steps = repositories.staged_steps(root)
    for step in steps:
        await engine.load(step)
    return Served(engine, steps)


def texts(seed):
    choose = random.Random(seed)
    for _ in range(80):
        rows = [[choose.randbytes(choose.randint(1, 120))] for _ in range(choose.choice([1, 1, 1, 2, 5]))]
        yield InferenceRequest({"INPUT0": Tensor("INPUT0", "BYTES", np.array(rows, np.object_))})


async def test_texts_of_any_length_get_what_they_get_alone(engine, tmp_path):
    a = await served(engine, text_repository(tmp_path))
    requests = list(texts(seed=1))
    merged = await asyncio.gather(*map(a.merged, requests))
    for request, got in zip(requests, merged, strict=True):
        np.testing.assert_allclose(got, await a.alone(request), rtol=1e-5, atol=1e-6)
    assert max(a.log.rows) > 1
    assert len(a.log.rows) < len(requests)


async def test_a_bad_text_fails_alone(engine, tmp_path):
    a = await served(engine, text_repository(tmp_path))
    requests = list(texts(seed=2))
    bad = InferenceRequest({"INPUT0": Tensor("INPUT0", "BYTES", np.array([[b"bad"]], np.object_))})
    requests[20:20] = [bad]
    outcomes = await asyncio.gather(*map(a.merged, requests), return_exceptions=True)
    assert [index for index, got in enumerate(outcomes) if isinstance(got, Exception)] == [20]
    assert isinstance(outcomes[20], InvalidRequest)


async def test_rows_that_the_graph_does_not_touch_are_exactly_equal(engine, tmp_path):
    root = repositories.onnx_identity(tmp_path / "same", max_batch_size=32, extra="dynamic_batching { }")
    a = await served(engine, root)
    rows = np.random.default_rng(3).standard_normal((50, 1, 4)).astype(np.float32)
    merged = await asyncio.gather(
        *(a.merged(InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", each)})) for each in rows)
    )
    np.testing.assert_array_equal(np.stack(merged), rows)
    assert len(a.log.rows) < len(rows)
