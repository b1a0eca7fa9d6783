"""Low-resolution mask logits to the size of the original image. Pure numpy.

The reference interpolates bilinearly with half-pixel centres twice: 256x256 to the encoder's 1024x1024, and what of
that is not padding to the original size. Both are linear in rows and in columns, so they are two small matrices.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Size = tuple[int, int]

_LOW_SIDE: Final = 256
_SIDE: Final = 1024


def masks(logits: Floats, inside: Size, original: Size) -> npt.NDArray[np.uint8]:
    """Threshold FP32 [n, 256, 256] at 0, at the original size: UINT8 [n, height, width] of 0 and 1.

    `inside` is the height and width of the image inside the encoder's square.
    """
    rows, columns = _from_low(inside[0], original[0]), _from_low(inside[1], original[1])
    result = np.empty((len(logits), *original), np.uint8)
    for index, low in enumerate(logits):
        np.greater(rows @ low @ columns.T, 0, out=result[index], casting="unsafe")
    return result


def full_logits(logits: Floats, inside: Size, original: Size) -> Floats:
    """The same before the threshold: FP32 [n, height, width]."""
    full: Floats = _from_low(inside[0], original[0]) @ logits @ _from_low(inside[1], original[1]).T
    return full


@lru_cache(maxsize=32)
def _from_low(inside: int, original: int) -> Floats:
    """[original, 256]: up to 1024, without the padding behind `inside`, and to `original`."""
    combined: Floats = interpolation(inside, original) @ interpolation(_LOW_SIDE, _SIDE)[:inside]
    return combined


def interpolation(source: int, target: int) -> Floats:
    """The matrix [target, source] of bilinear interpolation with half-pixel centres (PyTorch: align_corners=False).

    Scale and positions are rounded to float32 where PyTorch rounds them: at 1000 pixels that moves a position by 1e-4.
    """
    scale = np.float64(np.float32(source / target))
    positions = np.maximum(scale * (np.arange(target) + 0.5) - 0.5, 0).astype(np.float32)
    left = np.minimum(positions.astype(np.int64), source - 1)
    right = np.minimum(left + 1, source - 1)
    weights: Floats = (positions - left.astype(np.float32)).astype(np.float32)
    matrix = np.zeros((target, source), np.float32)
    rows = np.arange(target)
    matrix[rows, left] += 1 - weights
    matrix[rows, right] += weights
    return matrix
