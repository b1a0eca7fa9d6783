"""The zero-shot step's pure parts: templates, requests, batches of pairs, scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.python_steps.zero_shot import logic


def cells(*rows):
    array = np.empty((len(rows), len(rows[0]) if rows else 0), dtype=np.object_)
    for index, row in enumerate(rows):
        array[index] = [each.encode() if isinstance(each, str) else each for each in row]
    return array


@pytest.mark.parametrize(
    "template", ["This example is {}.", "{}", "{0} or not {0}", "{{}} {}", "{{{0}}}", "100 % {}", "\\{}\n", "{}{{"]
)
def test_a_template_means_what_python_s_format_means(template):
    assert "ÜBER {0}".join(logic.split_template(template)) == template.format("ÜBER {0}")


@given(st.text("{}0 a%"))
def test_no_template_surprises(template):
    try:
        parts = logic.split_template(template)
    except ValueError as error:
        assert "hypothesis template" in str(error)  # noqa: PT017
    else:
        assert "x".join(parts) == template.format("x")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "has no {}"),
        ("nothing {{}}", "has no {}"),
        ("{} {}", "several {}"),
        ("{} {0}", "several {}"),
        ("{label}", "only {} stands for the label, not {label}"),
        ("{1}", "not {1}"),
        ("{0.__class__}", "not {0.__class__}"),
        ("{:>9999999999}", "cannot be read"),
        ("{!r}", "cannot be read"),
        ("{", "cannot be read"),
        ("}", "cannot be read"),
        ("{" + "x" * 1000, r"\.\.\."),
    ],
)
def test_templates_that_are_refused(template, message):
    with pytest.raises(ValueError, match=message):
        logic.split_template(template)


def test_a_request_is_read_row_by_row():
    rows = logic.read_rows(
        cells(["a"], ["b"]), cells(["x", "y"], ["z", ""]), cells(["{}!"], ["{}?"]), np.array([[True], [False]]), 9
    )
    assert rows == [
        logic.Row("a", ("x!", "y!"), is_multi_label=True),
        logic.Row("b", ("z?", "?"), is_multi_label=False),
    ]


def test_what_is_optional_has_the_reference_s_defaults():
    assert logic.read_rows(cells(["a"]), cells(["x"]), None, None, 9) == [
        logic.Row("a", ("This example is x.",), is_multi_label=False)
    ]


@pytest.mark.parametrize(
    ("text", "labels", "message"),
    [
        ("a", [], "LABELS is empty"),
        ("a", ["x"] * 3, "3 labels; at most 2"),
        (b"\xff", ["x"], "element 0 of TEXT is not UTF-8"),
        ("a", ["x", b"\xff"], "element 1 of LABELS is not UTF-8"),
    ],
)
def test_requests_that_are_refused(text, labels, message):
    with pytest.raises(ValueError, match=message):
        logic.read_rows(cells([text]), cells(labels), None, None, 2)


@given(st.lists(st.integers(1, 1000), max_size=80), st.integers(1, 20), st.integers(1000, 4000))
def test_batches_hold_every_pair_once_within_the_limits(lengths, max_rows, max_tokens):
    batches = logic.plan_batches(lengths, max_rows, max_tokens)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) <= max_rows
        assert len(batch) * longest <= max_tokens
        assert longest <= 32 or all(2 * lengths[index] >= longest for index in batch)


def test_a_pair_over_the_limit_goes_alone():
    assert logic.plan_batches([5, 50, 5], 8, 20) == [[1], [0, 2]]


LOGITS = np.array([[3.0, 0.0, 1.0], [0.0, 9.0, 2.0], [-800.0, 0.0, 800.0]], np.float32)


def test_one_true_label_is_a_softmax_over_labels():
    found = logic.scores(LOGITS[:2], entailment=2, contradiction=0, is_multi_label=False)
    np.testing.assert_allclose(found, np.exp([1, 2]) / np.exp([1, 2]).sum(), rtol=1e-6)


def test_several_true_labels_are_each_against_their_contradiction():
    found = logic.scores(LOGITS, entailment=2, contradiction=0, is_multi_label=True)
    np.testing.assert_allclose(found, [1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2)), 1.0], rtol=1e-6)


def test_a_single_label_is_against_its_contradiction():
    found = logic.scores(LOGITS[:1], entailment=2, contradiction=0, is_multi_label=False)
    np.testing.assert_allclose(found, [1 / (1 + np.exp(2))], rtol=1e-6)
