"""Archives without files: `step()` and `archive()` make them, `FakeSource` hands them out."""

import asyncio
import hashlib
from collections.abc import Collection
from pathlib import Path

from server.domain.errors import ArchiveNotFound
from server.domain.model import (
    NOTHING,
    Footprint,
    ModelSignature,
    StagedArchive,
    Step,
    StepDigest,
    TensorSpec,
    WeightFile,
)

SIGNATURE = ModelSignature(
    platform="fake",
    max_batch_size=0,
    inputs=(TensorSpec("INPUT0", "FP32", (-1,)),),
    outputs=(TensorSpec("INPUT0", "FP32", (-1,)),),
)


def digest_of(content: str) -> StepDigest:
    """A digest that depends on the label only."""
    return StepDigest(hashlib.sha256(content.encode()).hexdigest())


def step(
    name: str,
    size: int = 10,
    calls: Collection[Step] = (),
    content: str | None = None,
    predicted: Footprint = NOTHING,
    signature: ModelSignature = SIGNATURE,
    weights: tuple[WeightFile, ...] = (),
) -> Step:
    """One step of `size` file bytes. Equal `content` (default: the name) and equal calls give an equal digest."""
    label = "/".join([content or name, *(callee.digest for callee in calls)])
    return Step(
        digest=digest_of(label),
        name=name,
        backend="fake",
        directory=Path("/nonexistent") / name,
        signature=signature,
        calls={callee.name: callee.digest for callee in calls},
        file_bytes=size,
        predicted=predicted,
        weights=weights,
    )


def archive(name: str, *steps: Step, version: str = "1", task: str = "", staged_from: str = "disk") -> StagedArchive:
    """An archive of `steps` (callees first; the last is the entry). Without steps: one step of its own, 10 bytes."""
    own = steps or (step(f"{name}-model", content=f"{name}@{version}"),)
    return StagedArchive(
        name=name, version=version, entry=own[-1].digest, steps=own, task=task, staged_from=staged_from
    )


class FakeSource:
    """Implements the port `ArchiveSource` over a dictionary.

    `verified` names are answered by `current()`; `stage()` verifies. `forget(name)` makes the next request stage again.
    `faults[name]` is raised by `stage` as long as it is there. `open` is a gate for `stage`.
    """

    def __init__(self, *archives: StagedArchive) -> None:
        self.archives: dict[str, StagedArchive] = {each.name: each for each in archives}
        self.verified: set[str] = set()
        self.faults: dict[str, Exception] = {}
        self.staged: list[str] = []
        self.retained: frozenset[StepDigest] = frozenset()
        self.open = asyncio.Event()
        self.open.set()

    # The port `ArchiveSource`

    def current(self, name: str) -> StagedArchive | None:
        return self.archives.get(name) if name in self.verified else None

    def claim(self, name: str) -> StagedArchive | None:
        return self.current(name)

    async def stage(self, name: str) -> StagedArchive:
        self.staged.append(name)
        await self.open.wait()
        await asyncio.sleep(0)
        if fault := self.faults.get(name):
            raise fault
        if name not in self.archives:
            raise ArchiveNotFound(name)
        self.verified.add(name)
        return self.archives[name]

    async def names(self) -> list[str]:
        return sorted(self.archives)

    def retain(self, digests: Collection[StepDigest]) -> None:
        self.retained = frozenset(digests)

    # For tests

    def put(self, archive: StagedArchive) -> None:
        """Publish new content; the next request stages it."""
        self.archives[archive.name] = archive
        self.verified.discard(archive.name)

    def delete(self, name: str) -> None:
        """Take the archive out of the store."""
        del self.archives[name]
        self.verified.discard(name)

    def forget(self, name: str) -> None:
        """Let the verification of `name` expire."""
        self.verified.discard(name)
