"""Puts a product before a generated background. Pure numpy, no Triton.

Images are UINT8 [height, width, 3], masks are UINT8 [height, width] with 255 where the product is.
"""

from math import ceil

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WHITE = 255
_HALF = 128


def check(image: Bytes, mask: Bytes | None) -> None:
    """Refuse pictures that cannot be worked on.

    Raises:
        ValueError: no colour picture, no pixels, or a mask of another size.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"IMAGE must have shape [height, width, 3], got {list(image.shape)}")
    if mask is not None and mask.shape != image.shape[:2]:
        raise ValueError(f"MASK must have the size of IMAGE, {list(image.shape[:2])}, got {list(mask.shape)}")


def working_size(height: int, width: int, multiple: int, longest: int) -> tuple[int, int]:
    """Size to generate at: the picture's proportions, sides multiples of `multiple`, none above `longest` pixels."""
    scale = min(1.0, longest / max(height, width))
    rounded = [max(multiple, round(side * scale / multiple) * multiple) for side in (height, width)]
    return rounded[0], rounded[1]


def resize(image: Bytes, height: int, width: int) -> Bytes:
    """Resample UINT8 [h, w] or [h, w, channels] bilinearly, averaging when it shrinks (a triangle filter)."""
    if image.shape[:2] == (height, width):
        return image
    rows, columns = _weights(image.shape[0], height), _weights(image.shape[1], width)
    flat = image.astype(np.float32).reshape(image.shape[0], image.shape[1], -1)
    resampled = np.einsum("hi,ijc,wj->hwc", rows, flat, columns, optimize=True)
    return to_bytes(resampled).reshape(height, width, *image.shape[2:])


def resize_mask(mask: Bytes, height: int, width: int) -> Bytes:
    """Resample a mask; it stays black and white."""
    return np.where(resize(mask, height, width) >= _HALF, WHITE, 0).astype(np.uint8)


def _weights(source: int, target: int) -> Floats:
    """FP32 [target, source]: how much of each source pixel each target pixel takes; rows sum to 1."""
    scale = source / target
    support = max(1.0, scale)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    distance = np.abs(centres[:, None] - np.arange(source)[None, :]) / support
    weights = np.maximum(0.0, 1.0 - distance)
    total: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return total


def binary(mask: Bytes) -> Bytes:
    """Black and white from any mask: 0/1, booleans or grey levels."""
    top = int(mask.max(initial=0))
    return np.where(mask > (0 if top <= 1 else _HALF - 1), WHITE, 0).astype(np.uint8)


def inverted(mask: Bytes) -> Bytes:
    """The anti-mask: white where the product is not."""
    return np.asarray(WHITE - mask, dtype=np.uint8)


def softened(mask: Bytes, radius: int) -> Floats:
    """FP32 [height, width] in 0..1: the mask with an edge that fades over about `radius` pixels."""
    soft = mask.astype(np.float32) / WHITE
    for axis in (0, 1):
        for _ in range(2):  # two boxes make a tent
            soft = _boxed(soft, radius, axis)
    return soft


def _boxed(values: Floats, radius: int, axis: int) -> Floats:
    padding = [(0, 0), (0, 0)]
    padding[axis] = (radius + 1, radius)
    sums = np.cumsum(np.pad(values, padding, mode="edge"), axis=axis, dtype=np.float64)
    size = values.shape[axis]
    upper = np.take(sums, range(2 * radius + 1, 2 * radius + 1 + size), axis=axis)
    lower = np.take(sums, range(size), axis=axis)
    mean: Floats = ((upper - lower) / (2 * radius + 1)).astype(np.float32)
    return mean


def over(front: Bytes, behind: Bytes, share: Floats) -> Bytes:
    """Lay `front` over `behind`; `share` FP32 [height, width] says how much of it is seen."""
    return to_bytes(share[:, :, None] * front + (1 - share[:, :, None]) * behind)


def edge_radius(height: int, width: int) -> int:
    """How wide a cut edge fades, in pixels: a four-hundredth of the picture."""
    return max(1, ceil(min(height, width) / 400))


def at_least_a_step(strength: float, steps: npt.NDArray[np.int32] | None) -> float:
    """Raise a strength so that of `steps` (INT32 [1], None: the painter's default, which is many) one is done.

    Some schedulers drop a step of those that a strength leaves, so it is a little more than one.
    """
    if steps is None or steps.size != 1 or steps.flat[0] < 1:  # the painter says what is wrong with them
        return strength
    return min(1.0, max(strength, 1.5 / float(steps.flat[0])))


def to_bytes(values: Floats) -> Bytes:
    """Round and clip to UINT8."""
    rounded: Bytes = np.clip(np.rint(values), 0, WHITE).astype(np.uint8)
    return rounded


def pnm(image: Bytes) -> npt.NDArray[np.uint8]:
    """An RGB picture as the bytes of a PNM file (a header before the pixels), UINT8 [bytes], for steps that decode."""
    head = f"P6 {image.shape[1]} {image.shape[0]} 255\n".encode()
    return np.concatenate([np.frombuffer(head, np.uint8), np.ascontiguousarray(image).reshape(-1)])
