"""Ensembles as data flow."""

import threading
from pathlib import Path

import numpy as np
import pytest

from server.domain.errors import DeviceFull, InferenceFailed, InvalidRequest
from server.domain.model import Step, StepDigest
from server.engines.embedded.backends.ensemble import EnsembleBackend
from server.engines.embedded.running.workers import Workers
from tests.unit.embedded.arithmetic import Callees, ensemble, request, signature, values


@pytest.fixture
def load():
    workers = Workers("branch")

    def load_(config, own, callees):
        step = Step(StepDigest("e"), "all", "ensemble", Path("/nowhere"), own)
        return EnsembleBackend(workers).load(step, config, callees)

    yield load_
    workers.close()


def plus(number):
    return signature(), lambda a: {"x": a + number}


ADD = (signature("ab"), lambda a, b: {"x": a + b})
CHAIN = ensemble(("one", "a=a", "x=t"), ("ten", "a=t", "x=x"))


def test_a_chain_runs_in_order_on_the_callers_thread(load):
    callees = Callees(one=plus(1), ten=plus(10))
    assert values(load(CHAIN, signature(), callees).execute(request(a=[1]))) == {"x": [12]}
    assert set(callees.threads.values()) == {threading.current_thread().name}


def test_steps_may_be_written_in_any_order(load):
    config = ensemble(("ten", "a=t", "x=x"), ("one", "a=a", "x=t"))
    assert values(load(config, signature(), Callees(one=plus(1), ten=plus(10))).execute(request(a=[1]))) == {"x": [12]}


def test_arrays_are_handed_over_without_copies(load):
    callees = Callees(one=(signature(), lambda a: {"x": a}), ten=(signature(), lambda a: {"x": a}))
    sent = request(a=[1])
    answer = load(CHAIN, signature(), callees).execute(sent)
    assert answer.outputs[0].data is sent.inputs["a"].data


def test_branches_run_side_by_side_and_meet_again(load):
    """Both branches wait for each other: they end only if they really run at the same time."""
    barrier = threading.Barrier(2)

    def branch(number):
        def run(a):
            barrier.wait(5)
            return {"x": a * number}

        return signature(), run

    config = ensemble(
        ("start", "a=a", "x=s"), ("two", "a=s", "x=l"), ("three", "a=s", "x=r"), ("add", "a=l b=r", "x=x")
    )
    callees = Callees(start=plus(1), two=branch(2), three=branch(3), add=ADD)
    assert values(load(config, signature(), callees).execute(request(a=[1]))) == {"x": [10]}
    assert len({callees.threads["two"], callees.threads["three"]}) == 2


def test_one_tensor_may_feed_two_inputs_of_a_step(load):
    config = ensemble(("one", "a=a", "x=t"), ("add", "a=t b=t", "x=x"))
    assert values(load(config, signature(), Callees(one=plus(1), add=ADD)).execute(request(a=[2]))) == {"x": [6]}


def test_an_output_may_be_any_tensor(load):
    answer = load(CHAIN, signature("a", "tx"), Callees(one=plus(1), ten=plus(10))).execute(request(a=[1]))
    assert values(answer) == {"t": [2], "x": [12]}


def test_only_the_outputs_that_were_asked_for_come_back(load):
    answer = load(CHAIN, signature("a", "tx"), Callees(one=plus(1), ten=plus(10))).execute(request("t", a=[1]))
    assert values(answer) == {"t": [2]}


def test_steps_compute_only_the_outputs_that_the_ensemble_uses(load):
    callees = Callees(one=(signature("a", "xy"), lambda a: {"x": a, "y": a}), ten=plus(10))
    load(CHAIN, signature(), callees).execute(request(a=[1]))
    assert callees.requests["one"].outputs == ("x",)


def test_optional_inputs_that_were_not_sent_are_not_handed_on(load):
    maybe = (signature("ab", optional="b"), lambda a, b=0: {"x": a + b})
    config = ensemble(("maybe", "a=a b=b", "x=x"))
    step = load(config, signature("ab", optional="b"), Callees(maybe=maybe))
    assert values(step.execute(request(a=[1]))) == {"x": [1]}
    assert values(step.execute(request(a=[1], b=[5]))) == {"x": [6]}


@pytest.mark.parametrize("error", [InferenceFailed, InvalidRequest])
def test_a_failure_names_the_step(load, error):
    def fail(a):
        raise error("too hot")

    step = load(CHAIN, signature(), Callees(one=plus(1), ten=(signature(), fail)))
    with pytest.raises(error, match=r"ensemble 'all', step 'ten': too hot"):
        step.execute(request(a=[1]))


def test_a_failure_of_one_branch_is_the_failure_of_the_request(load):
    def fail(a):
        raise DeviceFull("two", "cpu")

    config = ensemble(("two", "a=a", "x=l"), ("one", "a=a", "x=r"), ("add", "a=l b=r", "x=x"))
    step = load(config, signature(), Callees(one=plus(1), two=(signature(), fail), add=ADD))
    with pytest.raises(DeviceFull, match="'two'"):
        step.execute(request(a=[1]))


def test_an_output_that_no_step_gave_is_a_failure(load):
    step = load(CHAIN, signature(), Callees(one=plus(1), ten=(signature(), lambda a: {})))
    with pytest.raises(InferenceFailed, match="step 'ten' did not give tensor 'x'"):
        step.execute(request(a=[1]))


def test_a_batch_axis_is_added_for_a_step_that_batches(load):
    seen = []
    inner = (signature(batch=8, dims=(2,)), lambda a: seen.append(a.shape) or {"x": a})
    step = load(ensemble(("inner", "a=a", "x=x")), signature(dims=(-1, 2)), Callees(inner=inner))
    step.execute(request(a=np.ones((3, 2))))
    assert seen == [(3, 2)]


def test_every_answer_of_a_decoupled_step_flows_through_the_rest(load):
    many = (signature(), lambda a: [{"x": a + i} for i in range(3)])
    step = load(CHAIN, signature(), Callees(one=many, ten=plus(10)))
    assert [values(answer) for answer in step.stream(request(a=[1]))] == [{"x": [11]}, {"x": [12]}, {"x": [13]}]
