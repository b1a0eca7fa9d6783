"""Both engines, started and stopped, and archives staged for them."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from server.archive.staging import stage_folder
from server.domain.clock import SystemClock
from server.domain.model import StagedArchive, StepDigest
from server.domain.ports import Engine
from server.engines.completion import complete
from server.engines.embedded.engine import EmbeddedEngine
from server.engines.triton.engine import TritonEngine
from server.engines.triton.options import TritonOptions

REPOSITORY_ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def running_triton(
    folder: Path, lost: list[StepDigest] | None = None, options: TritonOptions | None = None
) -> AsyncIterator[TritonEngine]:
    """A started Triton engine: the one in the container, or else the one that `make triton` installs.

    Raises TritonMissing, which says so, where there is none: these tests fail rather than pass without a Triton.
    """
    environment = {"ROUNDHOUSE_TRITON": str(REPOSITORY_ROOT / ".triton"), **os.environ}
    engine = TritonEngine(replace(options or TritonOptions(folder), runtime_dir=folder), SystemClock(), environment)

    def note(digests: Collection[StepDigest]) -> None:
        if lost is not None:
            lost.extend(digests)

    await engine.start(note)
    try:
        yield engine
    finally:
        await engine.stop()


@asynccontextmanager
async def running_embedded() -> AsyncIterator[EmbeddedEngine]:
    """A started embedded engine."""
    engine = EmbeddedEngine()
    await engine.start(lambda _digests: None)
    try:
        yield engine
    finally:
        await engine.stop()


def staged(root: Path, steps_dir: Path | None = None) -> StagedArchive:
    """The archive whose unpacked files are at `root`."""
    return stage_folder(root, root.name, "1", steps_dir or root.parent / "steps", complete, link=True)


_leaving: dict[tuple[int, StepDigest], asyncio.Task[None]] = {}
"""Unloads under way. Triton takes a second for each, in which it does nothing, so no test waits for its own."""


@asynccontextmanager
async def resident(engine: Engine, archive: StagedArchive) -> AsyncIterator[StepDigest]:
    """All steps of the archive, loaded callee first and unloaded at the end. Gives the entry step."""
    loaded = []
    try:
        for step in archive.steps:
            if (leaving := _leaving.pop((id(engine), step.digest), None)) is not None:
                await leaving
            await engine.load(step)
            loaded.append(step.digest)
        yield archive.entry
    finally:
        for digest in reversed(loaded):
            _leaving[id(engine), digest] = asyncio.create_task(engine.unload(digest))
        await asyncio.sleep(0)  # let them begin, in this order
