"""What is inside an archive, as plain facts: what `roundhouse archive inspect` shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server.archive.digest import step_digest
from server.archive.layout import Layout, read_layout
from server.archive.model_config import ModelConfig, backend_of, canonical, datatype, is_complete, is_ensemble
from server.archive.model_folder import ModelFolder, content
from server.domain.model import FileSha, StepDigest


@dataclass(frozen=True, slots=True)
class StepFacts:
    """One step. `inputs` and `outputs` map names to text such as `FP32 [-1, 384]`, with the batch axis."""

    name: str
    digest: StepDigest
    is_complete: bool
    """Without it, the digest still changes: the engine completes the config when the archive is staged."""
    backend: str
    versions: tuple[str, ...]
    file_bytes: int
    footprint_bytes: Mapping[str, int]
    calls: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NeededFacts:
    """A step that the archive leaves out: which one, and which archive of the store has it."""

    name: str
    digest: StepDigest
    archive: str


@dataclass(frozen=True, slots=True)
class NeededFile:
    """A large file of one of its steps that the archive leaves out. `path` begins with the step's name."""

    path: str
    sha256: FileSha
    size_bytes: int
    archive: str


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """An archive; its own steps are ordered callees first, the entry model last."""

    task: str
    description: str
    entry: str
    steps: tuple[StepFacts, ...]
    unused: tuple[str, ...]
    needs: tuple[NeededFacts, ...] = ()
    needed_files: tuple[NeededFile, ...] = ()


def inspect(root: Path) -> ArchiveFacts:
    """Describe the archive that lies unpacked at `root`. Raises InvalidArchive where it cannot be understood."""
    layout = read_layout(root, is_partial=True)
    digests = {name: need.digest for name, need in layout.missing.items()}
    steps = []
    for model in layout.models:
        digests[model.name] = step_digest(model, digests)
        steps.append(_facts(model, digests[model.name], layout))
    return ArchiveFacts(
        task=layout.manifest.task if layout.manifest else "",
        description=layout.manifest.description if layout.manifest else "",
        entry=layout.entry,
        steps=tuple(steps),
        unused=layout.unused,
        needs=tuple(NeededFacts(name, need.digest, need.archive) for name, need in sorted(layout.missing.items())),
        needed_files=tuple(
            NeededFile(f"{model}/{path}", need.digest, need.size_bytes, need.archive)
            for model, files in sorted(layout.missing_files.items())
            for path, need in sorted(files.items())
        ),
    )


def _facts(model: ModelFolder, digest: StepDigest, layout: Layout) -> StepFacts:
    config = canonical(model.config)
    predicted = layout.manifest.footprint(model.name).bytes_by_device if layout.manifest else {}
    return StepFacts(
        name=model.name,
        digest=digest,
        is_complete=is_ensemble(config) or is_complete(config),
        backend=backend_of(config),
        versions=model.versions,
        file_bytes=sum(file.size for file in content(model)),
        footprint_bytes=dict(predicted),
        calls=model.calls,
        inputs=_tensors(config, "input"),
        outputs=_tensors(config, "output"),
    )


def _tensors(config: ModelConfig, kind: str) -> dict[str, str]:
    batch = ["batch"] if config.max_batch_size > 0 else []
    return {
        tensor.name: f"{datatype(tensor.data_type) if tensor.data_type else '?'} "
        f"[{', '.join([*batch, *(str(dim) for dim in tensor.dims)])}]"
        for tensor in getattr(config, kind)
    }
