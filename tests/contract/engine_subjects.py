"""The engines that `test_engine_promises.py` runs against, each with a pipeline of two steps that it can load.

A new engine gets its tests with one more entry in `SUBJECTS`: a function that gives an async context manager of a
`Subject`. The pipeline's entry takes INPUT0, FP32 [batch, 4].
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from server.domain.inference import InferenceRequest, Tensor
from server.domain.model import ModelSignature, Step, TensorSpec
from server.engines.embedded.engine import EmbeddedEngine
from tests.fakes import repositories
from tests.fakes.engine import FakeEngine
from tests.fakes.source import step


@dataclass
class Subject:
    """An engine that was started, and steps for it, callees first: the entry is last."""

    engine: "FakeEngine | EmbeddedEngine"
    steps: tuple[Step, ...]
    refused: Step | None = None
    """A step whose load fails for ever, where the engine has such a thing."""

    @property
    def entry(self) -> Step:
        return self.steps[-1]

    async def load_all(self) -> None:
        for each in self.steps:
            await self.engine.load(each)


def request(batch: int = 2, width: int = 4) -> InferenceRequest:
    data = np.arange(batch * width, dtype=np.float32).reshape(batch, width)
    return InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", data)})


@asynccontextmanager
async def fake(root: Path) -> AsyncIterator[Subject]:
    signature = ModelSignature("fake", 8, (TensorSpec("INPUT0", "FP32", (4,)),), (TensorSpec("INPUT0", "FP32", (4,)),))
    engine = FakeEngine()
    callee = step("encoder", 100, signature=signature)
    yield Subject(engine, (callee, step("pipeline", 10, [callee], signature=signature)))
    await engine.stop()


@asynccontextmanager
async def embedded(root: Path) -> AsyncIterator[Subject]:
    engine = EmbeddedEngine()
    await engine.start(lambda lost: None)
    steps = repositories.staged_steps(repositories.linear_pipeline(root / "good"))
    (refused,) = repositories.staged_steps(repositories.onnx_linear(root / "refused"))
    (root / "refused" / "1" / "model.onnx").write_bytes(b"junk")
    yield Subject(engine, steps, refused)
    await engine.stop()


SUBJECTS: dict[str, Callable[[Path], AbstractAsyncContextManager[Subject]]] = {"fake": fake, "embedded": embedded}


@pytest.fixture(params=sorted(SUBJECTS))
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """A started engine of each kind."""
    async with SUBJECTS[request.param](tmp_path) as made:
        yield made
