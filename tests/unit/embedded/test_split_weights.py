"""Weights as sums of two bfloat16: what they say, and where it lies."""

import numpy as np
import pytest

from server.engines.embedded.split_products.split_weights import as_float32, nearest_bfloat16, split_weights


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.0, 0.0),
        (-0.0, -0.0),
        (1.0, 1.0),
        (1 + 2**-7, 1 + 2**-7),
        (1 + 2**-8, 1.0),  # halfway: to the even one
        (1 + 3 * 2**-8, 1 + 2**-6),
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (-(1 + 2**-8 + 2**-20), -(1 + 2**-7)),
        (3.4e38, np.inf),
        (np.inf, np.inf),
        (-np.inf, -np.inf),
        (np.nan, np.nan),
        (float.fromhex("0x1.fffffep-127"), float.fromhex("0x1p-126")),  # a subnormal number
    ],
)
def test_the_nearest_bfloat16(number, expected):
    (found,) = as_float32(nearest_bfloat16(np.array([number], np.float32)))
    np.testing.assert_equal(found, np.float32(expected))
    assert np.isnan(number) or np.signbit(found) == np.signbit(number)


def test_nan_stays_nan_whatever_its_bits():
    almost_infinite = np.array([0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(as_float32(nearest_bfloat16(almost_infinite))).all()


def unsplit(halves, inner, columns):
    panels, steps, _ = halves.shape
    parts = as_float32(halves).astype(float).reshape(panels, steps, 2, 2, 16, 16, 2)
    high, low = parts.transpose(2, 1, 4, 6, 0, 3, 5).reshape(2, steps * 32, panels * 32)
    assert not high[inner:].any()
    assert not high[:, columns:].any()
    return high[:inner, :columns], low[:inner, :columns]


@pytest.mark.parametrize(("inner", "columns"), [(1, 1), (32, 32), (33, 31), (70, 100), (384, 64)])
def test_both_parts_together_are_the_number(inner, columns):
    matrix = np.random.default_rng(0).standard_normal((inner, columns), dtype=np.float32)
    high, low = unsplit(split_weights(matrix), inner, columns)
    assert (np.abs(low) <= np.abs(matrix) * 2**-8).all()
    assert (np.abs(high + low - matrix) <= np.abs(matrix) * 2**-16).all()


def test_where_they_lie():
    matrix = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) // 16  # exact in bfloat16: no low part
    panel, step, row, column = 1, 1, 5, 20
    tiles = as_float32(split_weights(matrix)[panel, step]).reshape(4, 16, 16, 2)
    assert tiles[1, row // 2, column - 16, row % 2] == matrix[step * 32 + row, panel * 32 + column]
    assert not tiles[2:].any()


def test_what_is_infinite_has_no_second_part():
    high, low = unsplit(split_weights(np.full((64, 64), np.inf, np.float32)), 64, 64)
    assert np.isinf(high).all()
    assert not low.any()
