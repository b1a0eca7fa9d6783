"""Steps whose matrix products are split: when they are, what they answer, and what they hold."""

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from server.domain.model import CPU
from server.engines.embedded.backends.onnx_packer import pack
from server.engines.embedded.backends.onnx_packing import Order, Sample
from server.engines.embedded.backends.packed_files import GRAPH
from server.engines.embedded.loading.loader import read_config
from server.engines.embedded.split_products import split_library
from tests.differential.engines import staged
from tests.fakes import repositories
from tests.fakes.packed_steps import SIDE, ask, entries, linear, packed, running
from tests.fakes.split_products import NEEDS_TILES


def operators(root):
    (graph,) = (root / "packed").glob(f"*/{GRAPH}")
    return {node.op_type for node in onnx.load(str(graph), load_external_data=False).graph.node}


@NEEDS_TILES
@pytest.mark.parametrize("is_external", [False, True])
async def test_a_busy_step_goes_over_to_split_products_and_stays_there(tmp_path, is_external, caplog):
    step = linear(tmp_path, is_external=is_external)
    async with running(tmp_path, is_split=True) as engine:
        charged = (await engine.load(step)).on(CPU)
        before = await ask(engine, step)
        assert engine.describe()["packed_steps"] == []
        with caplog.at_level(logging.INFO):
            await packed(engine, step)
        assert "in bfloat16 halves from now on: 1" in caplog.text
        assert engine.describe()["packed_steps"] == [{"step": "m", "digest": step.digest, "split_products": 1}]
        np.testing.assert_allclose(await ask(engine, step), before, rtol=1e-5)
        assert "SplitMatMul" in operators(tmp_path)
        await engine.unload(step.digest)
        assert (await engine.load(step)).on(CPU) == charged
        assert engine.describe()["packed_steps"][0]["split_products"] == 1
        np.testing.assert_allclose(await ask(engine, step), before, rtol=1e-5)
    async with running(tmp_path, is_split=False) as engine:  # `highest`: an entry of its own
        await engine.load(step)
        await ask(engine, step)
        await packed(engine, step)
        assert engine.describe()["packed_steps"][0]["split_products"] == 0
        np.testing.assert_array_equal(await ask(engine, step), before)


@NEEDS_TILES
async def test_what_is_held_stays_within_the_charge(tmp_path):
    side = 3584
    step = linear(tmp_path, side=side)
    async with running(tmp_path, is_split=True) as engine:
        empty = await engine.observe()
        charged = (await engine.load(step)).on(CPU)
        await ask(engine, step)
        await packed(engine, step)
        await ask(engine, step)
        seen = await engine.observe()
        assert seen.held[CPU] - empty.held[CPU] < 1.2 * charged


async def test_elsewhere_products_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(split_library, "_candidates", list)
    split_library.split_library.cache_clear()
    step = linear(tmp_path)
    try:
        async with running(tmp_path, is_split=True) as engine:
            await engine.load(step)
            before = await ask(engine, step)
            await packed(engine, step)
            np.testing.assert_array_equal(await ask(engine, step), before)
            assert "SplitMatMul" not in operators(tmp_path)
    finally:
        split_library.split_library.cache_clear()


def test_a_library_that_is_none_is_told_and_not_used(tmp_path, monkeypatch, caplog):
    broken = tmp_path / "library.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(split_library, "_candidates", lambda: [broken])
    with caplog.at_level(logging.WARNING):
        assert split_library.split_library.__wrapped__() is None
    assert "cannot be loaded" in caplog.text


@NEEDS_TILES
async def test_a_graph_that_needs_more_exact_products_keeps_them(tmp_path):
    """The difference of two products that are nearly the same: what halves leave out is much of it."""
    random = np.random.default_rng(0)
    one = random.standard_normal((SIDE, SIDE), dtype=np.float32)
    other = one + random.standard_normal((SIDE, SIDE), dtype=np.float32) * np.float32(1e-4)
    folder = tmp_path / "m"
    nodes = [
        helper.make_node("MatMul", ["INPUT0", "A"], ["x"]),
        helper.make_node("MatMul", ["x", "B"], ["b"]),
        helper.make_node("MatMul", ["x", "C"], ["c"]),
        helper.make_node("Sub", ["b", "c"], ["OUTPUT0"]),
    ]
    weights = {"A": random.standard_normal((4, SIDE), dtype=np.float32), "B": one, "C": other}
    graph = helper.make_graph(
        nodes,
        "difference",
        [helper.make_tensor_value_info("INPUT0", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, ["n", SIDE])],
        [numpy_helper.from_array(each, name) for name, each in weights.items()],
    )
    repositories.save_onnx(folder, graph)
    entry = repositories.tensor_entry
    repositories.write_config(
        folder,
        'name: "m" backend: "onnxruntime" max_batch_size: 8',
        f"input [ {entry('INPUT0', 'FP32', [4])} ] output [ {entry('OUTPUT0', 'FP32', [SIDE])} ]",
    )
    step = staged(folder).entry_step
    async with running(tmp_path, is_split=True) as engine:
        await engine.load(step)
        before = await ask(engine, step)
        await packed(engine, step)
        np.testing.assert_allclose(await ask(engine, step), before, rtol=1e-3, atol=1e-4 * np.abs(before).max())
        assert len(entries(tmp_path)) == 1
        assert "SplitMatMul" not in operators(tmp_path)


@NEEDS_TILES
def test_a_graph_without_large_products_is_packed_as_ever(tmp_path):
    folder = repositories.onnx_linear(tmp_path / "m", features=2112, outputs=2)
    step = staged(folder).entry_step
    sample = Sample(("OUTPUT0",), {"INPUT0": np.ones((1, 2112), np.float32)})
    target = tmp_path / "packed" / GRAPH
    target.parent.mkdir()
    library = split_library.split_library()
    order = Order(
        str(folder / "1" / "model.onnx"), str(target), read_config(step).SerializeToString(), 2, sample, library
    )
    wrong = pack(order)
    assert "SplitMatMul" not in target.read_text(errors="replace")
    assert wrong in ("", "the runtime packs nothing of this graph")
