"""Weight files that different steps have: one on disk, one in memory; and archives that bring only what is their own."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from server.archive.manifest import Manifest, write_manifest
from server.archive.needs import Need
from server.archive.pack import pack
from server.domain.clock import SystemClock
from server.domain.inference import InferenceRequest, Tensor
from server.domain.model import CPU
from server.engines.embedded.engine import EmbeddedEngine
from server.residency.residency import Residency
from server.store.disk.cache import DiskCache
from server.store.local import LocalFolder
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.threads import StoreThreads
from tests.fakes.repositories import (
    chain_ensemble,
    linear_pipeline,
    linear_pipeline_answer,
    onnx_linear,
    save_onnx,
    tensor_entry,
    write_config,
)
from tests.unit.archive.needs_writing import digests_of
from tests.unit.store.store_archives import complete_nothing

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


class House:
    """A store with its cache, an engine, and residency between them."""

    def __init__(self, root: Path, *, sharing: bool = True) -> None:
        clock, threads = SystemClock(), StoreThreads(2, 2)
        self.folder = root / "store"
        self.folder.mkdir()
        self.cache = DiskCache(root / "cache", None, clock, sharing=sharing)
        self.store = ArchiveStore(
            LocalFolder(self.folder, threads),
            RegisteredFolders(),
            self.cache,
            threads,
            clock,
            complete_nothing,
            sharing=sharing,
        )
        self.engine = EmbeddedEngine(threads=1)
        self.residency = Residency(self.engine, self.store, {CPU: BUDGET}, clock)

    def put(self, name: str, root: Path) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        pack(root, self.folder / name, level=1)

    async def start(self) -> None:
        await self.store.start()
        await self.engine.start(lambda _: None)

    async def stop(self) -> None:
        await self.residency.close()
        await self.engine.stop()
        await self.store.close()

    async def ask(self, name: str) -> np.ndarray:
        lease = await self.residency.lease(name, 30.0)
        with lease:
            request = InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", X)})
            answer = await self.engine.infer(lease.archive.entry, request)
        return answer.outputs[0].data

    def charged(self) -> int:
        return self.residency.snapshot()["devices"][CPU]["charged_bytes"]


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
    assert TABLE_BYTES < house.charged() < three, "the others still map it"
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
