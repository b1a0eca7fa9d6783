"""A staged archive as a line of JSON, so that a restart need not fetch or unpack again. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from server.domain.model import (
    FileSha,
    Footprint,
    ModelSignature,
    StagedArchive,
    Step,
    StepDigest,
    TensorSpec,
    WeightFile,
)

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class StagedRecord:
    """What is remembered about an archive. `stamps` say what its steps looked like on disk when they were placed."""

    key: str
    archive: StagedArchive
    stamps: Mapping[StepDigest, str]


def dump(record: StagedRecord, *, sharing: bool = True) -> str:
    """Write a record. Directories are left out: they follow from the digests. `sharing`: as the steps were digested."""
    archive = record.archive
    return json.dumps(
        {
            "format": _FORMAT,
            "sharing": sharing,
            "key": record.key,
            "name": archive.name,
            "version": archive.version,
            "entry": archive.entry,
            "task": archive.task,
            "steps": [_dump_step(step) for step in archive.steps],
            "stamps": dict(record.stamps),
        },
        indent=1,
    )


def load(text: str, steps_dir: Path, *, sharing: bool = True) -> StagedRecord:
    """Read a record back; its archive says `staged_from="disk"`.

    Raises:
        ValueError: it is not a record, or one of another format, or of steps that were digested otherwise.
    """
    try:
        fields = json.loads(text)
        if fields["format"] != _FORMAT:
            raise ValueError(f"record format {fields['format']!r}")
        if fields.get("sharing", True) is not sharing:
            raise ValueError("its steps were digested otherwise")
        archive = StagedArchive(
            name=fields["name"],
            version=fields["version"],
            entry=StepDigest(fields["entry"]),
            steps=tuple(_load_step(step, steps_dir) for step in fields["steps"]),
            task=fields["task"],
        )
        stamps = {step.digest: str(fields["stamps"][step.digest]) for step in archive.steps}
        return StagedRecord(str(fields["key"]), archive, stamps)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record: {error!r}") from error


def _dump_step(step: Step) -> dict[str, Any]:
    return {
        "digest": step.digest,
        "name": step.name,
        "backend": step.backend,
        "signature": asdict(step.signature),
        "calls": dict(step.calls),
        "file_bytes": step.file_bytes,
        "predicted": dict(step.predicted.bytes_by_device),
        "weights": [list(file) for file in step.weights],
    }


def _load_step(fields: Mapping[str, Any], steps_dir: Path) -> Step:
    digest = StepDigest(fields["digest"])
    if not digest.isalnum():
        raise ValueError(f"{digest!r} is no digest")
    return Step(
        digest=digest,
        name=fields["name"],
        backend=fields["backend"],
        directory=steps_dir / digest,
        signature=_load_signature(fields["signature"]),
        calls=MappingProxyType(dict(fields["calls"])),
        file_bytes=fields["file_bytes"],
        predicted=Footprint(MappingProxyType(dict(fields["predicted"]))),
        weights=tuple(WeightFile(path, FileSha(digest), size) for path, digest, size in fields.get("weights", ())),
    )


def _load_signature(fields: Mapping[str, Any]) -> ModelSignature:
    return ModelSignature(
        platform=fields["platform"],
        max_batch_size=fields["max_batch_size"],
        inputs=tuple(_load_tensor(tensor) for tensor in fields["inputs"]),
        outputs=tuple(_load_tensor(tensor) for tensor in fields["outputs"]),
        is_decoupled=fields["is_decoupled"],
    )


def _load_tensor(fields: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(
        name=fields["name"],
        datatype=fields["datatype"],
        dims=tuple(fields["dims"]),
        is_optional=fields["is_optional"],
        labels=tuple(fields["labels"]),
    )
