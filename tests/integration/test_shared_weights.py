"""Weight files that different steps have: one on disk, one in memory; and archives that bring only what is their own."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from server.archive.manifest import Manifest, write_manifest
from server.archive.needs import Need
from server.archive.pack import pack
from tests.fakes.repositories import (
    chain_ensemble,
    linear_pipeline,
    linear_pipeline_answer,
    onnx_linear,
    save_onnx,
    tensor_entry,
    write_config,
)
from tests.integration.whole_house import WholeHouse
from tests.unit.archive.needs_writing import digests_of

BUDGET = 1 << 30
ENTRIES = 1 << 20
TABLE = np.random.default_rng(0).standard_normal(ENTRIES, dtype=np.float32)
TABLE_BYTES = TABLE.nbytes
OVERHEAD = 0.25
"""What a session of so small a graph takes beside its table, as part of that."""
X = np.array([[3.0, 1.0, 4.0, 1.0], [5.0, 9.0, 2.0, 6.0]], dtype=np.float32)


def tuned(root: Path, scale: float) -> Path:
    """OUTPUT0 = table[INPUT0] * scale: the table lies in a file beside the graph, equal for every scale."""
    nodes = [
        helper.make_node("Cast", ["INPUT0"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["found"]),
        helper.make_node("Mul", ["found", "scale"], ["OUTPUT0"]),
    ]
    weights = [
        numpy_helper.from_array(TABLE, "table"),
        numpy_helper.from_array(np.array([scale], dtype=np.float32), "scale"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("INPUT0", "OUTPUT0")]
    save_onnx(root / "model", helper.make_graph(nodes, "tuned", ends[:1], ends[1:], weights), is_external=True)
    write_config(
        root / "model",
        'backend: "onnxruntime"',
        "max_batch_size: 8",
        f"input [ {tensor_entry('INPUT0', 'FP32', (4,))} ]",
        f"output [ {tensor_entry('OUTPUT0', 'FP32', (4,))} ]",
    )
    return root


class House(WholeHouse):
    """A house with room for everything, whose archives lie in its folder."""

    def __init__(self, root: Path, *, sharing: bool = True) -> None:
        super().__init__(root, BUDGET, sharing=sharing)

    def put(self, name: str, root: Path) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        pack(root, self.folder / name, level=1)

    async def ask(self, name: str) -> np.ndarray:
        return await self.answer(name, X)


@pytest.fixture
async def open_house(tmp_path):
    houses = []

    async def build(**options):
        houses.append(House(tmp_path, **options))
        await houses[-1].start()
        return houses[-1]

    yield build
    for house in houses:
        await house.stop()


async def three_tuned(house, tmp_path):
    """Ask three archives with one table; what is charged after each."""
    levels = []
    for scale in (1.0, 2.0, 3.0):
        house.put(f"x{scale:g}.tar.gz", tuned(tmp_path / f"x{scale:g}", scale))
        np.testing.assert_allclose(await house.ask(f"x{scale:g}.tar.gz"), TABLE[X.astype(int)] * scale, rtol=1e-6)
        levels.append(house.charged())
    return levels


async def test_equal_weight_files_of_different_steps_are_there_once(open_house, tmp_path):
    house = await open_house()
    one, two, three = await three_tuned(house, tmp_path)
    inodes = {path.stat().st_ino for path in (tmp_path / "cache").rglob("model.onnx.data")}
    assert len(inodes) == 1
    assert house.cache.usage()["used_bytes"] < 1.1 * TABLE_BYTES
    assert TABLE_BYTES < one < (1 + OVERHEAD) * TABLE_BYTES
    assert three - two < OVERHEAD * TABLE_BYTES > two - one
    (file,) = house.residency.snapshot()["mapped_files"]
    assert (file["bytes"] >= TABLE_BYTES, len(file["steps"])) == (True, 3)
    await house.residency.unload("x1.tar.gz")
    assert TABLE_BYTES <= house.charged() < three, "the others still map it"  # of their own they may need nothing new
    await house.residency.unload("x2.tar.gz")
    await house.residency.unload("x3.tar.gz")
    assert house.charged() == 0


async def test_without_sharing_they_are_there_for_each(open_house, tmp_path):
    house = await open_house(sharing=False)
    one, _, three = await three_tuned(house, tmp_path)
    inodes = {path.stat().st_ino for path in (tmp_path / "cache").rglob("model.onnx.data")}
    assert len(inodes) == 3
    assert three > 2.9 * one


async def test_heads_without_their_base_are_served_with_it(open_house, tmp_path):
    house = await open_house()
    base = linear_pipeline(tmp_path / "base", ballast_bytes=1 << 20)
    house.put("bases/base.tar.gz", base)
    for seed in (5, 6):
        head = tmp_path / f"head{seed}"
        onnx_linear(head / "head", features=3, outputs=2, seed=seed)
        chain_ensemble(head / "pipeline", ["encoder", "head"], input_dims=[4], output_dims=[2])
        need = Need(digests_of(base)["encoder"], "bases/base.tar.gz")
        write_manifest(Manifest(entry_model="pipeline", needs={"encoder": need}), head)
        house.put(f"head{seed}.tar.gz", head)
        assert (house.folder / f"head{seed}.tar.gz").stat().st_size < 4096
    for seed in (5, 6):
        answer = await house.ask(f"head{seed}.tar.gz")
        np.testing.assert_allclose(answer, linear_pipeline_answer(X, head_seed=seed), rtol=1e-4, atol=1e-4)
    steps = house.residency.snapshot()["steps"]
    assert sorted(len(step["shared_by"]) for step in steps) == [1, 1, 1, 1, 2]
