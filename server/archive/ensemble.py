"""Checks of an ensemble against the models it calls, before anything is loaded. Pure: configs in, problems out.

Triton finds the same mistakes while loading; here they are found while staging, and all of them at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.archive.model_config import ModelConfig, datatype, is_complete
from server.domain.errors import InvalidArchive

_TENSOR_NAMES: Final = 8


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An ensemble tensor where it comes into being. `data_type` 0: unknown, as the callee's config is incomplete."""

    origin: str
    data_type: int = 0
    dims: tuple[int, ...] | None = None
    is_batched: bool = False


def problems(config: ModelConfig, callees: Mapping[str, ModelConfig]) -> list[str]:
    """Everything that is wrong with the ensemble; [] where it fits. Callees that are incomplete are not looked into."""
    found = [f"ensemble {config.name!r}: {problem}" for problem in _own_problems(config)]
    tensors: dict[str, _Tensor] = {
        tensor.name: _declared(f"the ensemble's input {tensor.name!r}", tensor, config) for tensor in config.input
    }
    steps = list(config.ensemble_scheduling.step)
    for step in steps:
        callee = callees.get(step.model_name)
        found += [f"{_where(config, step)}: {problem}" for problem in _produce(step, callee, tensors)]
    for step in steps:
        callee = callees.get(step.model_name)
        found += [f"{_where(config, step)}: {problem}" for problem in _consume(step, callee, tensors)]
        if callee is not None and is_complete(callee) and callee.max_batch_size < config.max_batch_size:
            found.append(
                f"{_where(config, step)}: it takes batches of at most {callee.max_batch_size}, "
                f"the ensemble promises {config.max_batch_size}; lower the ensemble's max_batch_size"
            )
    found += [f"ensemble {config.name!r}: {problem}" for problem in _outputs(config, tensors)]
    if not found:
        found += [f"ensemble {config.name!r}: {problem}" for problem in _circles(config, steps)]
    return found


def _where(config: ModelConfig, step: Any) -> str:
    return f"ensemble {config.name!r}, step {step.model_name!r}"


def _own_problems(config: ModelConfig) -> Iterator[str]:
    if not config.ensemble_scheduling.step:
        yield "it has no steps; add ensemble_scheduling { step [ ... ] }"
    for kind, tensors in (("input", config.input), ("output", config.output)):
        if not tensors:
            yield f"it declares no {kind}; an ensemble's inputs and outputs cannot be found out, write them down"
        for tensor in tensors:
            try:
                datatype(tensor.data_type)
            except InvalidArchive:
                yield f"{kind} {tensor.name!r} has no data_type"


def _declared(origin: str, tensor: Any, config: ModelConfig) -> _Tensor:
    return _Tensor(origin, tensor.data_type, tuple(tensor.dims), config.max_batch_size > 0)


def _produce(step: Any, callee: ModelConfig | None, tensors: dict[str, _Tensor]) -> Iterator[str]:
    """Enter a step's outputs into `tensors`."""
    known = {tensor.name: tensor for tensor in callee.output} if callee is not None and is_complete(callee) else None
    if not step.output_map:
        yield "it has no output_map, so nothing comes out of it"
    for name, target in sorted(step.output_map.items()):
        origin = f"output {name!r} of step {step.model_name!r}"
        if known is not None and name not in known:
            yield f"its output_map names the output {name!r}; the model has {_names(known)}"
        if target in tensors:
            yield f"it writes the tensor {target!r}, which {tensors[target].origin} writes already"
            continue
        spec = known.get(name) if known is not None else None
        tensors[target] = _declared(origin, spec, callee) if spec is not None else _Tensor(origin)


def _consume(step: Any, callee: ModelConfig | None, tensors: Mapping[str, _Tensor]) -> Iterator[str]:
    """Compare what a step reads with what there is."""
    known = {tensor.name: tensor for tensor in callee.input} if callee is not None and is_complete(callee) else None
    for name, source in sorted(step.input_map.items()):
        if source not in tensors:
            yield f"its input {name!r} reads the tensor {source!r}, which nothing produces; there are {_names(tensors)}"
        if known is None:
            continue
        if name not in known:
            yield f"its input_map names the input {name!r}; the model has {_names(known)}"
        elif source in tensors:
            yield from _mismatch(f"input {name!r}", _declared("", known[name], callee), source, tensors[source])
    for name, tensor in sorted((known or {}).items()):
        if name not in step.input_map and not tensor.optional:
            yield f"its input {name!r} is not in the input_map, and it is not optional"


def _outputs(config: ModelConfig, tensors: Mapping[str, _Tensor]) -> Iterator[str]:
    inputs = {tensor.name for tensor in config.input}
    for output in config.output:
        if output.name not in tensors or output.name in inputs:
            made = {name: tensor for name, tensor in tensors.items() if name not in inputs}
            yield f"no step produces its output {output.name!r}; steps produce {_names(made)}"
            continue
        yield from _mismatch(
            f"output {output.name!r}", _declared("", output, config), output.name, tensors[output.name]
        )


def _mismatch(what: str, wanted: _Tensor, name: str, given: _Tensor) -> Iterator[str]:
    if given.data_type and wanted.data_type and given.data_type != wanted.data_type:
        yield (
            f"{what} is {datatype(wanted.data_type)}, but the tensor {name!r} "
            f"({given.origin}) is {datatype(given.data_type)}"
        )
    if given.dims is not None and wanted.dims is not None and not _do_dims_agree(wanted, given):
        yield (f"{what} has dims {list(wanted.dims)}, but the tensor {name!r} ({given.origin}) has {list(given.dims)}")


def _do_dims_agree(one: _Tensor, other: _Tensor) -> bool:
    """Equal up to -1, either as written or with the batch axis spelled out."""
    assert one.dims is not None
    assert other.dims is not None
    full_one, full_other = ((-1, *t.dims) if t.is_batched and t.dims is not None else t.dims for t in (one, other))
    return _fit(one.dims, other.dims) or _fit(full_one or (), full_other or ())


def _fit(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and all(a == b or -1 in {a, b} for a, b in zip(one, other, strict=True))


def _circles(config: ModelConfig, steps: list[Any]) -> Iterator[str]:
    """Steps that wait for each other's tensors never start."""
    there = {tensor.name for tensor in config.input}
    waiting = steps
    while waiting:
        ready = [step for step in waiting if there.issuperset(step.input_map.values())]
        if not ready:
            yield f"the steps {_names(dict.fromkeys(s.model_name for s in waiting))} wait for each other's outputs"
            return
        for step in ready:
            there.update(step.output_map.values())
        waiting = [step for step in waiting if step not in ready]


def inherited_labels(
    config: ModelConfig, output: str, callees: Mapping[str, Mapping[str, tuple[str, ...]]]
) -> tuple[str, ...]:
    """The labels of an ensemble's output that has no label file of its own: those of the step output it comes from.

    `callees` is {model name: {output name: labels}}.
    """
    for step in config.ensemble_scheduling.step:
        for name, target in step.output_map.items():
            if target == output:
                return callees.get(step.model_name, {}).get(name, ())
    return ()


def _names(names: Mapping[str, object]) -> str:
    shown = [repr(name) for name in list(names)[:_TENSOR_NAMES]]
    return ", ".join(shown) + (", ..." if len(names) > _TENSOR_NAMES else "") or "none"
