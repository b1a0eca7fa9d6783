"""Shapes between the wire and a model."""

import numpy as np
import pytest

from server.archive.model_config import parse
from server.domain.inference import Tensor
from server.engines.embedded.config.reshaping import (
    Reshape,
    fit_batch_axis,
    input_reshapes,
    model_dims,
    output_reshapes,
)


def tensor(*shape):
    return Tensor("x", "FP32", np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape))


@pytest.mark.parametrize(
    ("before", "after", "has_batch", "shape", "expected"),
    [
        ((1,), (), True, (3, 1), (3,)),
        ((4,), (2, 2), True, (3, 4), (3, 2, 2)),
        ((-1, 4), (-1, 2, 2), True, (3, 5, 4), (3, 5, 2, 2)),
        ((2, -1, 2), (4, -1), False, (2, 7, 2), (4, 7)),
    ],
)
def test_dynamic_axes_keep_their_sizes(before, after, has_batch, shape, expected):
    assert Reshape(before, after, has_batch).apply(tensor(*shape)).shape == expected


def test_reshape_copies_nothing():
    before = tensor(3, 4)
    assert np.shares_memory(Reshape((4,), (2, 2), has_batch=True).apply(before).data, before.data)


def test_a_config_reshapes_inputs_to_the_model_and_outputs_back():
    config = parse(
        'max_batch_size: 8 input { name: "a" data_type: TYPE_FP32 dims: 1 reshape { shape: [] } } '
        'output { name: "b" data_type: TYPE_FP32 dims: 1 reshape { shape: [] } } '
        'output { name: "c" data_type: TYPE_FP32 dims: 5 }'
    )
    assert input_reshapes(config) == {"a": Reshape((1,), (), has_batch=True)}
    assert output_reshapes(config) == {"b": Reshape((), (1,), has_batch=True)}
    assert [model_dims(each) for each in config.output] == [(), (5,)]


@pytest.mark.parametrize(
    ("shape", "dims", "is_batched", "expected"),
    [
        ((2, 4), (4,), True, (2, 4)),
        ((4,), (4,), True, (1, 4)),
        ((1, 4), (4,), False, (4,)),
        ((3, 4), (-1, 4), False, (3, 4)),
        ((3, 4), (4,), False, (3, 4)),  # fits neither way: left for the receiver to refuse
    ],
)
def test_a_batch_axis_of_one_comes_and_goes_between_steps(shape, dims, is_batched, expected):
    assert fit_batch_axis(tensor(*shape).data, dims, is_batched).shape == expected
