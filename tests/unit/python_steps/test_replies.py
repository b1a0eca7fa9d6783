"""When a request of a Python step is over, and what its tensors are."""

import threading

import numpy as np
import pytest

from server.domain.errors import InferenceFailed
from server.domain.inference import InferenceRequest as Question
from server.engines.embedded.python_steps.requests import InferenceRequest, InferenceTrace
from server.engines.embedded.python_steps.responses import InferenceResponse, Reply
from server.engines.embedded.python_steps.tensors import TRITON_TYPE_NUMBERS, Tensor
from server.engines.embedded.python_steps.triton_errors import TritonError

PATIENCE_S = 10.0


def reply_into(answers, *, is_decoupled=True):
    return Reply("step", answers.append, lambda: False, is_decoupled=is_decoupled)


def test_who_waits_is_woken_whichever_comes_first():
    for _ in range(200):  # the order is the threads'
        reply = reply_into([])
        waiting = threading.Thread(target=reply.wait, daemon=True)
        waiting.start()
        reply.finish()
        waiting.join(PATIENCE_S)
        assert not waiting.is_alive()


def test_nobody_waits_for_what_is_over():
    answers = []
    reply = reply_into(answers, is_decoupled=False)
    reply.send(InferenceResponse([Tensor("y", np.zeros(1, np.float32))]), is_final=True)
    reply.wait()
    assert [tensor.name for tensor in answers[0].outputs] == ["y"]


def test_a_response_that_is_an_error_is_raised_by_who_waits():
    reply = reply_into([], is_decoupled=False)
    reply.send(InferenceResponse(error=TritonError("no")), is_final=True)
    with pytest.raises(InferenceFailed, match="no"):
        reply.wait()


def test_a_received_request_has_all_that_a_request_of_a_models_own_has():
    question = Question({}, ("y",), "id", {"sequence_id": 7, "k": 0.5})
    received = InferenceRequest.received(question, question.outputs, reply_into([]))
    own = InferenceRequest(inputs=[], requested_output_names=["y"])
    assert vars(received).keys() == vars(own).keys()
    assert (received.request_id(), received.correlation_id(), received.flags(), received.timeout()) == ("id", 7, 0, 0)
    assert received.requested_output_names() == ["y"]
    assert received.parameters() == '{"sequence_id": 7, "k": 0.5}'
    assert isinstance(received.trace(), InferenceTrace)


@pytest.mark.parametrize("dtype", ["<i8", ">i8"])
def test_a_tensor_in_another_byte_order_has_the_same_type(dtype):
    assert Tensor("x", np.zeros(2, dtype)).triton_dtype() == TRITON_TYPE_NUMBERS["INT64"]
