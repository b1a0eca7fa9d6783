"""Which shapes a GPU step must take: the least, the best and the most of each input, batch axis included. Pure.

TensorRT compiles for such a range (an optimisation profile); shapes outside it are refused when the step runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from builders.triton_config.model import DYNAMIC, Field

Shape: TypeAlias = tuple[int, ...]
USUAL_BATCH = 8
"""The batch size that kernels are tuned for where a family knows no better."""


@dataclass(frozen=True, slots=True)
class Range:
    """Sizes that one dynamic axis can have. `best` is the usual one: kernels are chosen for it."""

    least: int
    best: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            raise ValueError(f"1 <= least <= best <= most is wanted, got {self.least}, {self.best}, {self.most}")


@dataclass(frozen=True, slots=True)
class InputRange:
    """Shapes that one input can have, with the batch axis."""

    least: Shape
    best: Shape
    most: Shape


Profile: TypeAlias = Mapping[str, InputRange]
"""By input name. Inputs without a dynamic axis are not in it."""


def profile_of(
    inputs: Sequence[Field], max_batch_size: int, axes: Mapping[str, Sequence[Range]], usual_batch: int = USUAL_BATCH
) -> Profile:
    """The profile of a step. `axes`: for each input, one range per -1 of its dims, in their order.

    `max_batch_size` 0 means: no batch axis.

    Raises:
        ValueError: an input has more or fewer ranges than dynamic axes.
    """
    batch = [Range(1, min(usual_batch, max_batch_size), max_batch_size)] if max_batch_size else []
    found: dict[str, InputRange] = {}
    for field in inputs:
        ranges = list(axes.get(field.name, ()))
        dynamic = sum(size == DYNAMIC for size in field.dims)
        if len(ranges) != dynamic:
            raise ValueError(f"input {field.name!r} has {dynamic} dynamic axes, and {len(ranges)} ranges are given")
        sizes = batch + [ranges.pop(0) if size == DYNAMIC else Range(size, size, size) for size in field.dims]
        if batch or dynamic:
            found[field.name] = InputRange(
                tuple(size.least for size in sizes),
                tuple(size.best for size in sizes),
                tuple(size.most for size in sizes),
            )
    return found


def as_facts(profile: Profile) -> dict[str, Any]:
    """The profile as the manifest keeps it: {input: {"min": [...], "opt": [...], "max": [...]}}."""
    return {
        name: {"min": list(shapes.least), "opt": list(shapes.best), "max": list(shapes.most)}
        for name, shapes in profile.items()
    }


def from_facts(facts: Mapping[str, Any]) -> Profile:
    """Read `as_facts` back.

    Raises:
        ValueError: it is not what `as_facts` writes.
    """
    try:
        return {
            name: InputRange(*(tuple(int(size) for size in shapes[key]) for key in ("min", "opt", "max")))
            for name, shapes in facts.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a profile must map inputs to min, opt and max shapes: {error!r}") from error


def shapes_text(profile: Profile, which: str) -> str:
    """`input_ids:1x16,attention_mask:1x16`, as ONNX Runtime's provider reads it. `which`: least, best, most."""
    return ",".join(f"{name}:{'x'.join(map(str, getattr(shapes, which)))}" for name, shapes in profile.items())
