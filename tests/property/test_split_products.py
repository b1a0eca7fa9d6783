"""A matrix product by halves is the product, whatever its shape; and a row's result is its own."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from tests.fakes.split_products import NEEDS_TILES, multiply

pytestmark = NEEDS_TILES

ROWS = some.integers(1, 290)  # 128 go at once, in pairs of 16
SIDES = some.one_of(some.integers(1, 200), some.sampled_from([32, 64, 96, 384]))


@some.composite
def products(draw):
    """x, matrix, bias; numbers of very different sizes."""
    rows, inner, columns = draw(ROWS), draw(SIDES), draw(SIDES)
    random = np.random.default_rng(draw(some.integers(0, 2**32)))
    spread = draw(some.sampled_from([0, 3, 20]))

    def numbers(*shape):
        return (random.standard_normal(shape) * 2.0 ** random.integers(-spread, spread + 1, shape)).astype(np.float32)

    return numbers(rows, inner), numbers(inner, columns), numbers(columns)


def bound(x, matrix, bias):
    """What a split may cost (3 x 2^-16 of each product), and what adding in FP32 may."""
    size = np.abs(x).astype(float) @ np.abs(matrix).astype(float)
    return 3 * 2**-16 * size + (x.shape[1] + 2) * 2**-23 * (size + np.abs(bias)) + 1e-30


@given(products())
def test_the_product_is_right(product):
    x, matrix, bias = product
    expected = x.astype(float) @ matrix.astype(float) + bias
    assert (np.abs(multiply(*product, room=70) - expected) <= bound(*product)).all()


@given(products(), some.data())
def test_a_row_does_not_depend_on_the_others(product, data):
    x, matrix, bias = product
    chosen = data.draw(some.lists(some.integers(0, len(x) - 1), min_size=1, max_size=40))
    for gelu in (False, True):
        together = multiply(x, matrix, bias, gelu=gelu)
        np.testing.assert_array_equal(multiply(x[chosen], matrix, bias, gelu=gelu), together[chosen])


@given(products())
def test_gelu_is_that_of_the_sum(product):
    plain = multiply(*product).astype(float)
    expected = [0.5 * each * (1 + math.erf(each / math.sqrt(2))) for each in plain.ravel()]
    np.testing.assert_allclose(multiply(*product, gelu=True, room=70).ravel(), expected, rtol=1e-6, atol=5e-7)
