"""FP32 matrices as sums of two bfloat16 matrices, in the layout that `split_matmul.c` reads. Pure."""

from typing import Final

import numpy as np
import numpy.typing as npt

PANEL: Final = 32
"""Columns that lie together."""
STEP: Final = 32
"""Rows of a panel that lie together, as four tiles of 16 pairs of rows by 16 columns."""

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.uint16]


def split_weights(matrix: Floats) -> Halves:
    """`matrix`, FP32 [inner, columns], as UINT16 [panels, steps, 2048]; what is missing to whole tiles is zero.

    A tile holds two rows in each of its own, alternately: bfloat16 products add in pairs. Of a step come the high parts
    of the left 16 columns and of the right ones, then the low parts.
    """
    inner, columns = matrix.shape
    steps, panels = -(-inner // STEP), -(-columns // PANEL)
    padded = np.zeros((steps * STEP, panels * PANEL), dtype=np.float32)
    padded[:inner, :columns] = matrix
    high = nearest_bfloat16(padded)
    rounded = as_float32(high)
    with np.errstate(invalid="ignore"):  # infinity - infinity
        left_over = padded - rounded
    low = nearest_bfloat16(np.where(np.isfinite(rounded), left_over, np.float32(0)))
    tiles = [part.reshape(steps, 16, 2, panels, 2, 16).transpose(3, 0, 4, 1, 5, 2) for part in (high, low)]
    return np.ascontiguousarray(np.stack(tiles, axis=2)).reshape(panels, steps, 4 * 512)


def nearest_bfloat16(numbers: Floats) -> Halves:
    """The upper halves of FP32 numbers, rounded to the nearest, ties to even. NaN stays NaN."""
    bits = numbers.view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    quiet: Final = (bits >> 16).astype(np.uint16) | np.uint16(0x40)
    return np.where(np.isnan(numbers), quiet, rounded).astype(np.uint16)


def as_float32(halves: Halves) -> Floats:
    """bfloat16 numbers as FP32, exactly."""
    return (halves.astype(np.uint32) << 16).view(np.float32)
