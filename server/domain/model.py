"""What an archive is once it is staged: steps, digests, signatures, footprints.

`Step` is the unit that engines load and residency charges; `StagedArchive` is what `TargetModel` names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, NewType, TypeAlias

from server.domain.cold_start import NOT_STAGED, NOT_TIMED, LoadTimes, Staging

StepDigest = NewType("StepDigest", str)
"""SHA-256 (64 hex digits) over a step's files, its canonical config without its name, and what it calls."""

FileSha = NewType("FileSha", str)
"""SHA-256 (64 hex digits) of a file's content."""

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
    took: LoadTimes = field(default=NOT_TIMED, compare=False)
    """Of a measurement: what the load took, where the engine says so."""
    is_measured: bool = field(default=False, compare=False)
    """Of a prediction: an earlier load on this host, by the same kind of engine, showed it."""

    mapped: Mapping[FileSha, int] = field(default_factory=lambda: MappingProxyType({}))
    """Host bytes that are pages of mapped weight files, counted in `bytes_by_device` as well. They are there once,
    however many steps map the file."""

    def on(self, device: Device) -> int:
        """Bytes on one device, 0 where the step has none there."""
        return self.bytes_by_device.get(device, 0)


NOTHING: Final = Footprint(MappingProxyType({}))


def clipped(mapped: Mapping[FileSha, int], limit_bytes: int) -> Mapping[FileSha, int]:
    """As much of the mapped files as is within the host bytes that a step takes altogether."""
    if sum(mapped.values()) <= limit_bytes:
        return mapped
    left, kept = limit_bytes, {}
    for file, amount in mapped.items():
        kept[file] = min(amount, left)
        left -= kept[file]
    return {file: amount for file, amount in kept.items() if amount}


class WeightFile(NamedTuple):
    """A large file of a step. Equal ones in different steps are one file on disk and, where they are mapped, in memory.

    `path` is relative to the step's folder.
    """

    path: str
    digest: FileSha
    size_bytes: int


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
    weights: tuple[WeightFile, ...] = ()
    """Its large files; none where sharing is switched off."""


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
    staging: Staging = NOT_STAGED
    """What bringing it to disk took now."""

    @property
    def key(self) -> str:
        """The name of this exact content."""
        return f"{self.name}@{self.version}"

    @property
    def staging_s(self) -> float:
        """Seconds of staging, all phases together."""
        return self.staging.total_s

    @property
    def entry_step(self) -> Step:
        """The step that requests are sent to."""
        return self.steps[-1]

    @property
    def signature(self) -> ModelSignature:
        """What the archive takes and gives."""
        return self.entry_step.signature
