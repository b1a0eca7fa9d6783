"""The real MiniLM with split products: the same vectors, alone and among others, under many callers at once."""

import asyncio

import numpy as np
import pytest

from server.domain.inference import InferenceRequest, Tensor
from server.engines.embedded.backends.packed_files import GRAPH
from tests.differential.engines import staged
from tests.fakes.demo_archives import unpacked
from tests.fakes.packed_steps import packed, running
from tests.fakes.split_products import NEEDS_TILES

LENGTHS = (3, 9, 24, 64, 131)


def request(rows, length):
    ids = np.random.default_rng(rows * 1000 + length).integers(1000, 29000, (rows, length))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return InferenceRequest({name: Tensor(name, "INT64", each) for name, each in inputs.items()})


@NEEDS_TILES
@pytest.mark.filterwarnings("error")
async def test_its_vectors_are_the_same_to_a_hundred_thousandth(tmp_path):
    archive = staged(unpacked("minilm", tmp_path / "minilm"))
    (step,) = [each for each in archive.steps if each.name == "encoder"]
    requests = [request(rows, length) for rows in (1, 5) for length in LENGTHS]
    async with running(tmp_path, is_split=True) as engine:
        await engine.load(step)

        async def vectors():
            answers = await asyncio.gather(*(engine.infer(step.digest, each) for each in requests))
            return [answer.outputs[0].data for answer in answers]

        before = await vectors()
        await packed(engine, step)
        (graph,) = (tmp_path / "packed").glob(f"*/{GRAPH}")
        assert graph.read_bytes().count(b"SplitMatMulGelu") == 6
        for one, other in zip(before, await vectors(), strict=True):
            assert 0 < np.abs(one - other).max() < 1e-5
