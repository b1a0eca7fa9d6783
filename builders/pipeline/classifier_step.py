"""The ONNX step of a sequence classifier, for every family that has one."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from builders.checkpoints.sequence_classification import ClassifierCheckpoint, Function
from builders.export import half, optimise, quantise, sequence_classifier
from builders.pipeline.content_key import content_key
from builders.pipeline.extras import need
from builders.pipeline.measure_graph import measure_graph
from builders.pipeline.progress import stage
from builders.triton_config import accelerated
from builders.triton_config import model as triton
from builders.triton_config.agreement import check_agreement
from builders.triton_config.profile import Profile, Range, as_facts, profile_of

_MEASURED_TOKENS = 32
_USUAL_TOKENS = 64
_WARM_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Compute:
    """Where a classifier will run, in which precision, and in how large batches."""

    precision: accelerated.Precision = "fp32"
    target: triton.Target = "cpu"
    accelerator: accelerated.Accelerator | None = None
    max_batch_size: int = 64

    @property
    def where(self) -> accelerated.Placement:
        """Raises click.UsageError where target, accelerator and precision do not go together."""
        return accelerated.placement(self.target, self.accelerator, self.precision)

    def as_facts(self) -> dict[str, Any]:
        """For the manifest."""
        accelerator = {"accelerator": self.where.accelerator} if self.target == "gpu" else {}
        return {
            "precision": self.precision,
            "target": self.target,
            "max_batch_size": self.max_batch_size,
            **accelerator,
        }


@dataclass(frozen=True, slots=True)
class ClassifierStep:
    """A written step: its graph's file, the inputs that the graph has, and what the manifest says of it."""

    graph: Path
    inputs: tuple[str, ...]
    facts: Mapping[str, Any]
    latency: Mapping[str, float]


def write(
    checkpoint: ClassifierCheckpoint,
    compute: Compute,
    name: str,
    root: Path,
    work: Path,
    *,
    function: Function | None = None,
    is_measured: bool = False,
) -> ClassifierStep:
    """Write the step `name` into the archive folder `root`: logits, and with `function` scores as well."""
    version = root / name / "1"
    version.mkdir(parents=True)
    graph = _graph(checkpoint, compute, name, version, work, function)
    inputs = _graph_inputs(graph)
    fields = [triton.Field(each, "TYPE_INT64", (triton.DYNAMIC,)) for each in inputs]
    given = [sequence_classifier.LOGITS] + ([] if function is None else [sequence_classifier.SCORES])
    profile: Profile = {}
    if compute.target == "gpu":
        tokens = Range(1, min(_USUAL_TOKENS, checkpoint.max_length), checkpoint.max_length)
        profile = profile_of(fields, compute.max_batch_size, {each: [tokens] for each in inputs})
    config = accelerated.graph_config(
        name=name,
        inputs=fields,
        outputs=[triton.Field(each, "TYPE_FP32", (len(checkpoint.labels),)) for each in given],
        max_batch_size=compute.max_batch_size,
        where=compute.where,
        profile=profile,
        cache_key=content_key(version),
        graph_level=None if compute.precision == "fp16" else optimise.ALREADY_OPTIMISED,
    )
    if profile:
        accelerated.with_profile_warmup(config, profile)
    else:
        triton.with_warmup(config, dict.fromkeys(inputs, (_WARM_TOKENS,)))
    check_agreement(config, graph)
    (root / name / "config.pbtxt").write_text(triton.text(config))
    facts: dict[str, Any] = {"profile": as_facts(profile)} if profile else {}
    latency: Mapping[str, float] = {}
    if is_measured and compute.target == "cpu":
        taken, latency = _measured(graph, inputs, name)
        facts["footprint_bytes"] = {"cpu": taken}
    return ClassifierStep(graph, inputs, facts, latency)


def _graph(
    checkpoint: ClassifierCheckpoint, compute: Compute, name: str, version: Path, work: Path, function: Function | None
) -> Path:
    with stage(f"export {name} to ONNX"):
        plain = sequence_classifier.export(checkpoint, work / f"{name}.onnx", function=function)
    if compute.precision == "fp16":
        with stage("convert to fp16"):
            half.half(plain, work / f"{name}.half.onnx")
        return Path(shutil.move(work / f"{name}.half.onnx", version / "model.onnx"))
    if compute.precision == "int8":
        with stage("quantise to int8"):
            plain = quantise.quantise(plain, work / f"{name}.int8.onnx")
    with stage("optimise the graph"):
        return optimise.optimise(plain, version, for_gpu=compute.target == "gpu")


def _graph_inputs(graph: Path) -> tuple[str, ...]:
    """What the graph really takes: the exporter drops inputs that a model does not look at."""
    model = need("onnx").load(str(graph), load_external_data=False)
    weights = {each.name for each in model.graph.initializer}
    return tuple(each.name for each in model.graph.input if each.name not in weights)


def _measured(graph: Path, inputs: Sequence[str], name: str) -> tuple[int, dict[str, float]]:
    """Bytes, and milliseconds of loading and of one short row."""
    tokens = np.ones((1, _MEASURED_TOKENS), np.int64)
    with stage(f"footprint and latency of {name}"):
        found = measure_graph(graph, dict.fromkeys(inputs, tokens))
    return found.bytes, {"load_ms": round(found.load_s * 1e3, 1), "one_row_p50_ms": round(found.p50_s * 1e3, 2)}
