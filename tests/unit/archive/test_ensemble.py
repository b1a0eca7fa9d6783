import pytest

from server.archive.ensemble import problems
from server.archive.model_config import parse
from tests.unit.archive.writing import ensemble_config, step_config

CHAIN = [("one", "IN", "between"), ("two", "between", "OUT")]


def found(schedule, **callees):
    """The problems of the ensemble, with `one` and `two` as callees unless others are given."""
    configs = {"one": step_config(), "two": step_config()} | callees
    return problems(parse('name: "whole" ' + schedule), {name: parse(text) for name, text in configs.items()})


def test_a_chain_that_fits_has_no_problem():
    assert found(ensemble_config(CHAIN)) == []


def test_the_order_of_steps_does_not_matter():
    assert found(ensemble_config(CHAIN[::-1])) == []


def test_incomplete_callees_are_not_looked_into():
    assert found(ensemble_config(CHAIN), one='backend: "onnxruntime"') == []


@pytest.mark.parametrize(
    ("schedule", "callees", "words"),
    [
        (ensemble_config([("one", "WHERE", "OUT")]), {}, ["'one'", "'WHERE'", "nothing produces"]),
        (ensemble_config([("one", "IN", "else")]), {}, ["'OUT'", "no step produces"]),
        (ensemble_config(CHAIN), {"one": step_config(source="ids")}, ["'one'", "'x'", "'ids'", "not optional"]),
        (ensemble_config(CHAIN), {"two": step_config(result="z")}, ["'two'", "output 'y'", "'z'"]),
        (ensemble_config(CHAIN), {"two": step_config(kind="TYPE_INT64")}, ["'two'", "INT64", "FP32", "'between'"]),
        (ensemble_config(CHAIN), {"two": step_config(dims="5")}, ["'two'", "[5]", "[4]"]),
        (ensemble_config(CHAIN), {"two": step_config(dims="4, 4")}, ["'two'", "[4, 4]"]),
        (ensemble_config(CHAIN, batch=16), {}, ["at most 8", "16"]),
        (ensemble_config([*CHAIN, ("one", "IN", "between")]), {}, ["'between'", "writes already"]),
        (ensemble_config([("one", "IN", "IN")]), {}, ["'IN'", "writes already"]),
        (ensemble_config([("one", "b", "a"), ("two", "a", "b")]), {}, ["'OUT'"]),
        (ensemble_config([("one", "b", "a"), ("two", "a", "b"), ("two", "IN", "OUT")]), {}, ["wait for each other"]),
        (ensemble_config([]), {}, ["no steps"]),
        ('platform: "ensemble"', {}, ["declares no input"]),
    ],
)
def test_a_misfit_is_named(schedule, callees, words):
    text = "\n".join(found(schedule, **callees))
    assert [word for word in words if word not in text] == []


def test_all_problems_are_told_at_once():
    schedule = ensemble_config([("one", "WHERE", "between"), ("two", "between", "else")])
    assert len(found(schedule, one=step_config(kind="TYPE_INT64"))) >= 3


def test_a_dynamic_axis_fits_any_size():
    assert found(ensemble_config(CHAIN), two=step_config(dims="-1")) == []


def test_an_optional_input_may_stay_unmapped():
    optional = step_config().replace(
        "input [ {", 'input [ { name: "hint" data_type: TYPE_BOOL dims: [ 1 ] optional: true }, {'
    )
    assert found(ensemble_config(CHAIN), one=optional) == []


def test_a_batch_axis_that_is_spelled_out_fits_one_that_is_meant():
    spelled = {"one": step_config(batch=0, dims="-1, 4"), "two": step_config(batch=0, dims="-1, 4")}
    assert found(ensemble_config(CHAIN, batch=0, dims="-1, 4"), **spelled) == []
    assert found(ensemble_config(CHAIN, batch=0, dims="-1, 4"), one=spelled["one"], two=step_config(batch=4)) == []
