"""Small typed functions that fill Triton's `ModelConfig` message.

Configs are written complete (inputs, outputs, backend, instances), so that Triton runs with
`--disable-auto-complete-config` and need not start every Python step twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tritonclient.grpc import model_config_pb2 as pb

from server.archive.model_config import render

Target: TypeAlias = Literal["cpu", "gpu"]
DYNAMIC = -1


@dataclass(frozen=True, slots=True)
class Field:
    """One input or output: name, Triton's type (`TYPE_FP32`), dims without the batch axis, label file of an output."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    label_filename: str = ""
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class EnsembleStep:
    """One step of an ensemble: model name, and {model's tensor: ensemble's tensor} for both sides."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def step_config(
    *,
    name: str,
    backend: str,
    inputs: Sequence[Field],
    outputs: Sequence[Field],
    max_batch_size: int,
    target: Target = "cpu",
    parameters: Mapping[str, str] | None = None,
    graph_level: int | None = None,
    instances: int = 1,
    is_decoupled: bool = False,
    is_cached: bool = False,
) -> Any:
    """A complete config of one step on `target`.

    `instances`: executions side by side. `is_decoupled`: it may answer any number of times. `is_cached`: equal inputs
    need not be computed twice (Triton's response cache, where the engine has one).
    """
    config = _base(name, inputs, outputs, max_batch_size)
    config.backend = backend
    kind = pb.ModelInstanceGroup.KIND_GPU if target == "gpu" else pb.ModelInstanceGroup.KIND_CPU
    config.instance_group.add(count=instances, kind=kind)
    for key, value in (parameters or {}).items():
        config.parameters[key].string_value = value
    if graph_level is not None:
        config.optimization.graph.level = graph_level
    if is_decoupled:
        config.model_transaction_policy.decoupled = True
    if is_cached:
        config.response_cache.enable = True
    return config


def ensemble_config(
    *, name: str, inputs: Sequence[Field], outputs: Sequence[Field], max_batch_size: int, steps: Sequence[EnsembleStep]
) -> Any:
    """A complete config of an ensemble."""
    config = _base(name, inputs, outputs, max_batch_size)
    config.platform = "ensemble"
    for step in steps:
        message = config.ensemble_scheduling.step.add(model_name=step.model, model_version=-1)
        message.input_map.update(step.inputs)
        message.output_map.update(step.outputs)
    return config


def with_warmup(config: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """Let the first request find a warm step: one batch of zeros of the given shapes (without the batch axis)."""
    sample = config.model_warmup.add(name="zeros", batch_size=1 if config.max_batch_size else 0, count=1)
    for field in config.input:
        sample.inputs[field.name].data_type = field.data_type
        sample.inputs[field.name].dims.extend(shapes[field.name])
        sample.inputs[field.name].zero_data = True
    return config


def text(config: Any) -> str:
    """The config as it is written to config.pbtxt."""
    return render(config)


def _base(name: str, inputs: Sequence[Field], outputs: Sequence[Field], max_batch_size: int) -> Any:
    config = pb.ModelConfig(name=name, max_batch_size=max_batch_size)
    for field in inputs:
        config.input.add(
            name=field.name,
            data_type=pb.DataType.Value(field.data_type),
            dims=field.dims,
            optional=field.is_optional,
        )
    for field in outputs:
        config.output.add(
            name=field.name,
            data_type=pb.DataType.Value(field.data_type),
            dims=field.dims,
            label_filename=field.label_filename,
        )
    return config
