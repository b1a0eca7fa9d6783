"""Which step of an ensemble feeds which, checked once at load by Triton's rules. Pure.

Rules: every tensor has one origin; datatypes match; shapes match where both are known, the batch axis included when
one model batches and the other does not; no step allows smaller batches than the ensemble; no cycles.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelEnsembling

from server.domain.errors import InvalidArchive, InvalidRequest
from server.domain.model import ModelSignature, TensorSpec

SignatureOf = Callable[[str], ModelSignature]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step: whose inputs and outputs (by their names in the model) are which tensors of the ensemble."""

    index: int
    model: str
    signature: ModelSignature
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    sources: tuple[tuple[TensorSpec, str], ...]
    """Each used input of the model with the tensor that feeds it."""
    wanted: tuple[str, ...]
    """The outputs of the model that the ensemble uses."""


@dataclass(frozen=True, slots=True)
class EnsemblePlan:
    """The steps in an order in which each comes after those that feed it."""

    name: str
    signature: ModelSignature
    steps: tuple[PlannedStep, ...]
    consumers: Mapping[str, tuple[int, ...]]
    """The `index` of each step that waits for a tensor, once per waiting input."""
    is_chain: bool
    """Whether each step needs the one before it, so that nothing can run side by side."""


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a connection: what a model declares about a tensor, and who says so."""

    who: str
    datatype: str
    dims: tuple[int, ...]
    is_batched: bool

    @property
    def full_dims(self) -> tuple[int, ...]:
        return (-1, *self.dims) if self.is_batched else self.dims


def plan(config: ModelConfig, signature: ModelSignature, signature_of: SignatureOf) -> EnsemblePlan:
    """Read and check the ensemble. Raises InvalidArchive with the step's name and the tensor's."""
    where = f"ensemble {config.name!r}"
    if not config.ensemble_scheduling.step:
        raise InvalidArchive(f"{where} has no steps (ensemble_scheduling)")
    steps = [_step(where, i, each, signature_of) for i, each in enumerate(config.ensemble_scheduling.step)]
    _check_batches(where, signature, steps)
    _check_connections(where, signature, steps)
    consumers: dict[str, tuple[int, ...]] = {}
    for step in steps:
        for tensor in step.inputs.values():
            consumers[tensor] = (*consumers.get(tensor, ()), step.index)
    ordered = tuple(_in_order(where, signature, steps))
    is_chain = all(
        not set(before.outputs.values()).isdisjoint(after.inputs.values()) for before, after in pairwise(ordered)
    )
    return EnsemblePlan(config.name, signature, ordered, consumers, is_chain)


def _step(where: str, index: int, step: ModelEnsembling.Step, signature_of: SignatureOf) -> PlannedStep:
    try:
        signature = signature_of(step.model_name)
    except InvalidRequest as error:
        raise InvalidArchive(f"{where}: there is no model {step.model_name!r} in the archive") from error
    named = f"{where}, step {step.model_name!r}"
    inputs = {spec.name for spec in signature.inputs}
    required = {spec.name for spec in signature.inputs if not spec.is_optional}
    outputs = {spec.name for spec in signature.outputs}
    if unknown := set(step.input_map) - inputs:
        raise InvalidArchive(f"{named}: input_map names {sorted(unknown)}, the model's inputs are {sorted(inputs)}")
    if missing := required - set(step.input_map):
        raise InvalidArchive(f"{named}: input_map leaves out the inputs {sorted(missing)}")
    if unknown := set(step.output_map) - outputs:
        raise InvalidArchive(f"{named}: output_map names {sorted(unknown)}, the model's outputs are {sorted(outputs)}")
    sources = tuple((spec, step.input_map[spec.name]) for spec in signature.inputs if spec.name in step.input_map)
    wanted = tuple(step.output_map)
    return PlannedStep(index, step.model_name, signature, dict(step.input_map), dict(step.output_map), sources, wanted)


def _check_batches(where: str, signature: ModelSignature, steps: Sequence[PlannedStep]) -> None:
    for step in steps:
        if signature.is_batched and step.signature.max_batch_size < signature.max_batch_size:
            raise InvalidArchive(
                f"{where} allows a batch size of {signature.max_batch_size}, but its step {step.model!r} allows only "
                f"{step.signature.max_batch_size}"
            )


def _check_connections(where: str, signature: ModelSignature, steps: Sequence[PlannedStep]) -> None:
    origins = {spec.name: _end(f"{where}, input", spec, signature) for spec in signature.inputs}
    for step in steps:
        specs = {spec.name: spec for spec in step.signature.outputs}
        for name, tensor in step.outputs.items():
            if tensor in origins:
                raise InvalidArchive(
                    f"{where}: tensor {tensor!r} has two origins: {origins[tensor].who}, and step {step.model!r}"
                )
            origins[tensor] = _end(f"output {name!r} of step {step.model!r}", specs[name], step.signature)
    ends: list[tuple[str, _End]] = [
        (spec.name, _end(f"the ensemble's output {spec.name!r}", spec, signature)) for spec in signature.outputs
    ]
    for step in steps:
        ends += [
            (tensor, _end(f"input {spec.name!r} of step {step.model!r}", spec, step.signature))
            for spec, tensor in step.sources
        ]
    for tensor, end in ends:
        if tensor not in origins:
            raise InvalidArchive(f"{where}: {end.who} needs tensor {tensor!r}, which no step and no input gives")
        _check_connection(where, tensor, origins[tensor], end)


def _check_connection(where: str, tensor: str, origin: _End, end: _End) -> None:
    if origin.datatype != end.datatype:
        raise InvalidArchive(
            f"{where}: tensor {tensor!r} is {origin.datatype} as {origin.who} and {end.datatype} as {end.who}"
        )
    is_same_batching = origin.is_batched == end.is_batched
    ours = origin.dims if is_same_batching else origin.full_dims
    theirs = end.dims if is_same_batching else end.full_dims
    if len(ours) != len(theirs) or any(a != b and -1 not in (a, b) for a, b in zip(ours, theirs, strict=True)):
        raise InvalidArchive(
            f"{where}: tensor {tensor!r} has shape {list(ours)} as {origin.who} and {list(theirs)} as {end.who}"
        )


def _end(who: str, spec: TensorSpec, signature: ModelSignature) -> _End:
    return _End(who, spec.datatype, spec.dims, signature.is_batched)


def _in_order(where: str, signature: ModelSignature, steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    known = {spec.name for spec in signature.inputs}
    waiting: Final = list(steps)
    ordered: list[PlannedStep] = []
    while waiting:
        ready = [step for step in waiting if set(step.inputs.values()) <= known]
        if not ready:
            raise InvalidArchive(f"{where}: the steps {sorted({each.model for each in waiting})} feed each other")
        for step in ready:
            waiting.remove(step)
            ordered.append(step)
            known.update(step.outputs.values())
    return ordered
