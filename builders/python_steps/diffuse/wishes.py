"""What a request wants: its tensors read, checked against the limits, and defaults filled in. Pure numpy."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from .schedulers import scheduler_name

Bytes = npt.NDArray[np.uint8]
Inputs = Mapping[str, npt.NDArray[Any]]
T = TypeVar("T")

_LONGEST_PROMPT: Final = 20_000
_HIGHEST_GUIDANCE: Final = 100.0
_LARGEST_PICTURE: Final = 1 << 24  # pixels; resampling takes some 30 bytes for each
_HALF: Final = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for. `multiple`: sides are multiples of it, in pixels. `side`: the size by default.

    `max_side` is what graphs that are compiled for a range of shapes can take.
    """

    max_steps: int
    max_images: int
    max_pixels: int
    max_side: int
    multiple: int
    side: int
    scheduler: str


@dataclass(frozen=True, slots=True)
class Wish:
    """One valid request.

    `seeds`: one per image. `image` UINT8 [h, w, 3] and `mask` BOOL [h, w] (true: paint here) as they came; the latter
    only with the former. `progress_every`, `preview_every`: after how many steps to tell, 0 for never.
    """

    prompt: str
    negative_prompt: str
    steps: int
    guidance: float
    seeds: tuple[int, ...]
    height: int
    width: int
    scheduler: str
    strength: float
    image: Bytes | None
    mask: npt.NDArray[np.bool_] | None
    progress_every: int
    preview_every: int

    @property
    def is_guided(self) -> bool:
        """Whether the UNet is asked twice: with the prompt and without."""
        return self.guidance > 1


def read(inputs: Inputs, limits: Limits, random_seed: Callable[[], int] | None = None) -> Wish:
    """Read the tensors of a request by their names.

    Raises:
        ValueError: says which input is wrong, and what it may be.
    """
    image, mask = _picture(inputs)
    height, width = _size(inputs, limits, image)
    count = _number(inputs, "NUM_IMAGES", 1, 1, limits.max_images)
    seed = _scalar(inputs, "SEED", int)
    if seed is None:
        seed = (random_seed or _random_seed)()
    return Wish(
        prompt=_text(inputs, "PROMPT"),
        negative_prompt=_text(inputs, "NEGATIVE_PROMPT"),
        steps=_number(inputs, "STEPS", min(50, limits.max_steps), 1, limits.max_steps),
        guidance=_real(inputs, "GUIDANCE", 7.5, 0.0, _HIGHEST_GUIDANCE),
        seeds=tuple(seed + index for index in range(count)),
        height=height,
        width=width,
        scheduler=scheduler_name(_text(inputs, "SCHEDULER") or limits.scheduler),
        strength=_real(inputs, "STRENGTH", 1.0 if mask is not None else 0.8, 0.0, 1.0),
        image=image,
        mask=mask,
        progress_every=_number(inputs, "PROGRESS_EVERY", 0, 0, limits.max_steps),
        preview_every=_number(inputs, "PREVIEW_EVERY", 0, 0, limits.max_steps),
    )


def _picture(inputs: Inputs) -> tuple[Bytes | None, npt.NDArray[np.bool_] | None]:
    image, mask = inputs.get("IMAGE"), inputs.get("MASK")
    if image is None:
        if mask is not None:
            raise ValueError("MASK needs an IMAGE that it is a mask of")
        return None, None
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"IMAGE must have shape [height, width, 3], got {list(image.shape)}")
    if image.shape[0] * image.shape[1] > _LARGEST_PICTURE:
        raise ValueError(f"IMAGE is {image.shape[0]}x{image.shape[1]}; at most {_LARGEST_PICTURE} pixels are read")
    if mask is None:
        return image, None
    if mask.shape != image.shape[:2]:
        raise ValueError(f"MASK must have the size of IMAGE, {list(image.shape[:2])}, got {list(mask.shape)}")
    return image, mask >= (1 if mask.max() <= 1 else _HALF)  # grey levels, or 0 and 1


def _size(inputs: Inputs, limits: Limits, image: Bytes | None) -> tuple[int, int]:
    """Height and width of what is painted: as asked for, else near to the image's, else the default."""
    asked = [_scalar(inputs, name, int) for name in ("HEIGHT", "WIDTH")]
    default = (limits.side, limits.side)
    if image is not None:
        shrink = min(1.0, math.sqrt(limits.max_pixels / (image.shape[0] * image.shape[1])))
        shrink = min(shrink, limits.max_side / max(image.shape[:2]))
        default = (
            _down(int(image.shape[0] * shrink), limits.multiple),
            _down(int(image.shape[1] * shrink), limits.multiple),
        )
    height, width = (own if given is None else given for given, own in zip(asked, default, strict=True))
    for name, value in (("HEIGHT", height), ("WIDTH", width)):
        if value < limits.multiple or value % limits.multiple:
            near = max(limits.multiple, _down(value, limits.multiple))
            raise ValueError(f"{name} must be a positive multiple of {limits.multiple}, got {value}; {near} is near")
    if max(height, width) > limits.max_side:
        raise ValueError(f"{height}x{width}: this model paints sides up to {limits.max_side}; ask for less")
    if height * width > limits.max_pixels:
        raise ValueError(
            f"{height}x{width} has {height * width} pixels, more than this model paints ({limits.max_pixels}); "
            "ask for less with HEIGHT and WIDTH, and enlarge the result"
        )
    return height, width


def _down(value: int, multiple: int) -> int:
    return max(value - value % multiple, multiple)


def _text(inputs: Inputs, name: str) -> str:
    value = _scalar(inputs, name, lambda cell: cell)
    if value is None:
        return ""
    try:
        text = value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from error
    if len(text) > _LONGEST_PROMPT:
        raise ValueError(f"{name} has {len(text)} characters; at most {_LONGEST_PROMPT} are read")
    return text


def _number(inputs: Inputs, name: str, default: int, least: int, most: int) -> int:
    value = _scalar(inputs, name, int)
    if value is None:
        return default
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}, got {value}")
    return value


def _real(inputs: Inputs, name: str, default: float, least: float, most: float) -> float:
    value = _scalar(inputs, name, float)
    if value is None:
        return default
    if not math.isfinite(value) or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, got {value:g}")
    return value


def _scalar(inputs: Inputs, name: str, kind: Callable[[Any], T]) -> T | None:
    cells = inputs.get(name)
    if cells is None:
        return None
    if cells.size != 1:
        raise ValueError(f"{name} must have one element, got {cells.size}")
    return kind(cells.reshape(-1)[0])


def _random_seed() -> int:
    """A seed that the answer tells, so that the image can be made again."""
    return int.from_bytes(os.urandom(4), "little")
