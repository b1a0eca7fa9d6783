"""What batching has to know of an archive's files, read once per entry model. Blocking: runs in a thread."""

import mmap
from collections.abc import Collection
from pathlib import Path
from typing import Final

from server.archive.model_config import ModelConfig, backend_of, parse
from server.domain.errors import InvalidArchive
from server.domain.model import StagedArchive, Step, StepDigest
from server.serving.batch_rules import BatchRules, rules_for

_QUANTISES: Final = b"DynamicQuantize"
"""How the ONNX operators begin that take a scale over a whole tensor while they run."""

_NODES_BYTES: Final = 32 << 20
"""Where to look: a graph's nodes come before its weights, which may be gigabytes."""


def read_rules(archive: StagedArchive, self_batching: Collection[str]) -> BatchRules | None:
    """The rules for an archive's requests; None where they run apart, or its files cannot be read (any more)."""
    configs: dict[StepDigest, ModelConfig] = {}
    try:
        for step in archive.steps:
            configs[step.digest] = parse((step.directory / "config.pbtxt").read_text(encoding="utf-8"))
        mixing = {step.digest for step in archive.steps if _mixes_rows(step, configs[step.digest])}
    except (OSError, UnicodeDecodeError, InvalidArchive):
        return None
    return rules_for(archive, configs, mixing, self_batching)


def _mixes_rows(step: Step, config: ModelConfig) -> bool:
    return backend_of(config) == "onnxruntime" and any(map(_quantises, step.directory.glob("*/*.onnx")))


def _quantises(graph: Path) -> bool:
    with graph.open("rb") as file:
        if not graph.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_QUANTISES, 0, _NODES_BYTES) >= 0
