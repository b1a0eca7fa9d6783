"""An archive as plain values, as far as codecs and the batcher need it in another process on the same machine. Pure."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from server.domain.model import ModelSignature, StagedArchive, Step, StepDigest, TensorSpec


def described(archive: StagedArchive) -> dict[str, Any]:
    """The archive, JSON-ready. Footprints, weight files and how it was staged stay behind."""
    return {
        "name": archive.name,
        "version": archive.version,
        "entry": archive.entry,
        "task": archive.task,
        "steps": [
            {
                "digest": step.digest,
                "name": step.name,
                "backend": step.backend,
                "directory": str(step.directory),
                "signature": _signature(step.signature),
                "calls": dict(step.calls),
                "file_bytes": step.file_bytes,
            }
            for step in archive.steps
        ],
    }


def archive_of(values: Mapping[str, Any]) -> StagedArchive:
    """The inverse of `described`."""
    return StagedArchive(
        name=values["name"],
        version=values["version"],
        entry=StepDigest(values["entry"]),
        steps=tuple(_step(each) for each in values["steps"]),
        task=values["task"],
    )


def _step(values: Mapping[str, Any]) -> Step:
    return Step(
        digest=StepDigest(values["digest"]),
        name=values["name"],
        backend=values["backend"],
        directory=Path(values["directory"]),
        signature=_signature_of(values["signature"]),
        calls=MappingProxyType({name: StepDigest(digest) for name, digest in values["calls"].items()}),
        file_bytes=values["file_bytes"],
    )


def _signature(signature: ModelSignature) -> dict[str, Any]:
    return {
        "platform": signature.platform,
        "max_batch_size": signature.max_batch_size,
        "inputs": [_spec(each) for each in signature.inputs],
        "outputs": [_spec(each) for each in signature.outputs],
        "is_decoupled": signature.is_decoupled,
    }


def _signature_of(values: Mapping[str, Any]) -> ModelSignature:
    return ModelSignature(
        platform=values["platform"],
        max_batch_size=values["max_batch_size"],
        inputs=tuple(TensorSpec(*_tuples(each)) for each in values["inputs"]),
        outputs=tuple(TensorSpec(*_tuples(each)) for each in values["outputs"]),
        is_decoupled=values["is_decoupled"],
    )


def _spec(spec: TensorSpec) -> list[Any]:
    return [spec.name, spec.datatype, list(spec.dims), spec.is_optional, list(spec.labels)]


def _tuples(values: list[Any]) -> list[Any]:
    return [tuple(each) if isinstance(each, list) else each for each in values]
