"""Which requests may share a batch."""

import numpy as np
import pytest

from server.archive.model_config import parse
from server.domain.inference import InferenceRequest, Tensor
from server.engines.embedded.running.batch_rules import BatchRules, rules_of


def request(**shapes):
    return InferenceRequest({name: Tensor(name, "FP32", np.zeros(shape, "f4")) for name, shape in shapes.items()})


def test_requests_join_in_their_order_until_one_does_not_fit():
    rules = BatchRules(max_rows=4)
    two, other = request(X=(2, 3)), request(X=(1, 5))
    assert rules.fitting([]) == 0
    assert rules.fitting([two, two, two]) == 2
    assert rules.fitting([two, other, two]) == 1
    assert rules.fitting([request(X=(9, 3))]) == 1  # the step itself says what it thinks of that


def test_ragged_inputs_may_differ_in_shape():
    rules = BatchRules(max_rows=8, ragged=frozenset({"X"}))
    assert rules.fitting([request(X=(1, 3)), request(X=(1, 5)), request(X=(2, 1))]) == 3
    assert rules.fitting([request(X=(1, 3), Y=(1, 1)), request(X=(1, 5), Y=(1, 2))]) == 1


def test_requests_with_other_inputs_do_not_join():
    assert BatchRules(max_rows=8).fitting([request(X=(1, 3)), request(X=(1, 3), Y=(1, 1))]) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([request(X=(2, 3))], False),
        ([request(X=(2, 3)), request(X=(2, 3))], True),
        ([request(X=(1, 3)), request(X=(1, 4))], True),
        ([request(X=(1, 3)), request(X=(1, 3))], False),
    ],
)
def test_a_batch_is_full_when_waiting_cannot_make_it_larger(line, expected):
    assert BatchRules(max_rows=4).is_full(line) is expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("max_batch_size: 4", None),
        ("dynamic_batching {}", None),
        ("max_batch_size: 4 dynamic_batching {}", BatchRules(4)),
        ("max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 500 }", BatchRules(4, 0.0005)),
        ("max_batch_size: 4 dynamic_batching {} model_transaction_policy { decoupled: true }", None),
        (
            'max_batch_size: 4 dynamic_batching {} input { name: "X" allow_ragged_batch: true } input { name: "Y" }',
            BatchRules(4, 0.0, frozenset({"X"})),
        ),
    ],
)
def test_rules_come_from_the_config(config, expected):
    assert rules_of(parse(config)) == expected
