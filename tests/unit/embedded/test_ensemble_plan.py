"""What makes a graph, and what does not."""

import pytest

from server.domain.errors import InvalidArchive
from server.engines.embedded.backends.ensemble_plan import plan
from tests.unit.embedded.arithmetic import Callees, ensemble, signature

PLUS = signature()


def planned(config, own=PLUS, **models):
    callees = Callees(**{name: (each, None) for name, each in (models or {"one": PLUS, "two": PLUS}).items()})
    return plan(config, own, callees.signature)


def test_steps_come_after_those_that_feed_them():
    made = planned(ensemble(("two", "a=t", "x=x"), ("one", "a=a", "x=t")))
    assert [step.model for step in made.steps] == ["one", "two"]
    assert made.is_chain


def test_branches_are_no_chain():
    made = planned(ensemble(("one", "a=a", "x=l"), ("two", "a=a", "x=x")))
    assert not made.is_chain


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "has no steps"),
        ([("nope", "a=a", "x=x")], "no model 'nope' in the archive"),
        ([("one", "z=a", "x=x")], r"step 'one': input_map names \['z'\], the model's inputs are \['a'\]"),
        ([("one", "", "x=x")], r"input_map leaves out the inputs \['a'\]"),
        ([("one", "a=a", "y=x")], r"output_map names \['y'\]"),
        ([("one", "a=a", "x=x"), ("two", "a=a", "x=x")], "tensor 'x' has two origins"),
        ([("one", "a=missing", "x=x")], "needs tensor 'missing', which no step and no input gives"),
        ([("one", "a=a", "x=t")], "output 'x' needs tensor 'x'"),
        ([("one", "a=x", "x=t"), ("two", "a=t", "x=x")], r"\['one', 'two'\] feed each other"),
    ],
)
def test_a_graph_that_does_not_hold_together_is_refused(steps, words):
    with pytest.raises(InvalidArchive, match=words):
        planned(ensemble(*steps))


def test_datatypes_must_match():
    with pytest.raises(InvalidArchive, match="is INT64 as output 'x' of step 'one' and FP32 as"):
        planned(ensemble(("one", "a=a", "x=x")), one=signature(datatype="INT64"))


@pytest.mark.parametrize(
    ("own", "step", "is_fine"),
    [
        (signature(dims=(4,)), signature(dims=(4,)), True),
        (signature(dims=(4,)), signature(dims=(-1,)), True),
        (signature(dims=(4,)), signature(dims=(5,)), False),
        (signature(dims=(4,)), signature(dims=(4, 1)), False),
        (signature(batch=8, dims=(4,)), signature(batch=8, dims=(4,)), True),
        (signature(dims=(-1, 4)), signature(batch=8, dims=(4,)), True),  # the batch axis written out
        (signature(dims=(4,)), signature(batch=8, dims=(4,)), False),
        (signature(batch=8, dims=(4,)), signature(batch=4, dims=(4,)), False),
        (signature(batch=8, dims=(4,)), signature(dims=(4,)), False),
    ],
)
def test_shapes_and_batch_sizes_follow_tritons_rules(own, step, is_fine):
    config = ensemble(("one", "a=a", "x=x"))
    if is_fine:
        assert planned(config, own, one=step).steps
    else:
        with pytest.raises(InvalidArchive, match=r"shape|batch size"):
            planned(config, own, one=step)
