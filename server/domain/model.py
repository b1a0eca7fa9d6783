"""What an archive is once it is staged: steps, digests, signatures, footprints.

`Step` is the unit that engines load and residency charges; `StagedArchive` is what `TargetModel` names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, NewType, TypeAlias

StepDigest = NewType("StepDigest", str)
"""SHA-256 (64 hex digits) over a step's files, its canonical config without its name, and what it calls."""

Device: TypeAlias = str
"""A memory that has a budget: `"cpu"`, `"gpu:0"`, `"gpu:1"`, ..."""

CPU: Final[Device] = "cpu"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One declared input or output. `dims` is the shape without the batch axis; -1 is a dynamic axis."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    is_optional: bool = False
    labels: tuple[str, ...] = ()
    """Class names from the output's `label_filename`, for the classification extension."""


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """What a model takes and gives. With `max_batch_size` > 0 each shape has a leading batch axis."""

    platform: str
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    is_decoupled: bool = False

    @property
    def is_batched(self) -> bool:
        """Whether shapes on the wire carry a leading batch axis."""
        return self.max_batch_size > 0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes per device. A prediction before the load, a measurement after it."""

    bytes_by_device: Mapping[Device, int]

    def on(self, device: Device) -> int:
        """Bytes on one device, 0 where the step has none there."""
        return self.bytes_by_device.get(device, 0)


NOTHING: Final = Footprint(MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Step:
    """One Triton model of an archive, staged on disk and never changed afterwards.

    `directory` holds `config.pbtxt` (complete: inputs, outputs, backend) and the numbered version folders.
    `calls` maps the model names this step uses (ensemble steps, BLS calls), as written in its files, to their digests.
    """

    digest: StepDigest
    name: str
    backend: str
    directory: Path
    signature: ModelSignature
    calls: Mapping[str, StepDigest] = field(default_factory=lambda: MappingProxyType({}))
    file_bytes: int = 0
    predicted: Footprint = NOTHING
    """From the manifest or an earlier load; `NOTHING` where nobody knows, and then `file_bytes` is the guess."""


@dataclass(frozen=True, slots=True)
class StagedArchive:
    """An archive whose steps lie on disk where an engine can load them.

    `version` changes when the content does (ETag, or mtimes and sizes); `key` = `name@version` names this content.
    `steps` is ordered so that every step comes after the steps it calls; the entry model is therefore last.
    """

    name: str
    version: str
    entry: StepDigest
    steps: tuple[Step, ...]
    task: str = ""
    """The manifest's task, e.g. `sentence-embedding`; empty for a plain repository. Picks plain-payload codecs."""
    staged_from: str = "disk"
    """How far the content had to come: `disk` (already unpacked) or `store` (fetched and unpacked now)."""
    staging_s: float = 0.0

    @property
    def key(self) -> str:
        """The name of this exact content."""
        return f"{self.name}@{self.version}"

    @property
    def entry_step(self) -> Step:
        """The step that requests are sent to."""
        return self.steps[-1]

    @property
    def signature(self) -> ModelSignature:
        """What the archive takes and gives."""
        return self.entry_step.signature
