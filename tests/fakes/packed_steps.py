"""An engine that packs weights, and a step that is worth it."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np

from server.domain.inference import InferenceRequest, Tensor
from server.engines.embedded.backends.packed_files import PackedFiles
from server.engines.embedded.engine import EmbeddedEngine
from server.engines.embedded.memory import host_memory
from tests.differential.engines import staged
from tests.fakes import repositories

MB = 1 << 20
SIDE = 2112
X = np.random.default_rng(0).standard_normal((5, 4), dtype=np.float32)


@asynccontextmanager
async def running(root, quota=1 << 30, *, is_split=False):
    host_memory.collect_and_release()  # what other tests left, which would be freed under a measurement
    engine = EmbeddedEngine(threads=2, packed=PackedFiles(root / "packed", quota), is_split=is_split)
    await engine.start(lambda _: None)
    try:
        yield engine
    finally:
        await engine.stop()


def linear(root, name="m", side=SIDE, **options):
    return staged(repositories.onnx_linear(root / name, ballast_bytes=4 * side**2, **options)).entry_step


async def ask(engine, step):
    answer = await engine.infer(step.digest, InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", X)}))
    return answer.outputs[0].data


async def packed(engine, step):
    engine._packing.ask(step.digest)
    await asyncio.sleep(0)  # it is told from any thread
    await asyncio.gather(*engine._packing._tasks)


def entries(root):
    return [path.name for path in (root / "packed").iterdir()] if (root / "packed").exists() else []
