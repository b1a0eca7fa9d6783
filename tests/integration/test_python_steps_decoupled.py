"""Decoupled Python steps, in the server's process and in one of their own."""

import contextlib
from collections.abc import Iterator

import pytest

from server.domain.errors import InferenceFailed
from tests.unit.python_steps.step_folders import ECHO, StepRig, output_of, request_of

DECOUPLED = "model_transaction_policy { decoupled: true }"
HOSTS = ["in-process", "isolated"]


@pytest.fixture(params=HOSTS)
def rig(request, tmp_path) -> Iterator[StepRig]:
    rig = StepRig(request.param, tmp_path)
    yield rig
    rig.close()


COUNT_DOWN = """
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            for request in requests:
                sender = request.get_response_sender()
                for number in range(int(request.inputs()[0].as_numpy()[0]), 0, -1):
                    if number == 13:
                        sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("unlucky")))
                    if sender.is_cancelled():
                        print("cancelled at", number)
                        break
                    sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([number], np.float32))]))
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""


def test_a_decoupled_step_streams_any_number_of_answers(rig):
    step = rig.load(COUNT_DOWN, extra=DECOUPLED)

    for count in (3, 0, 1):
        answers = [output_of(answer)[0] for answer in step.stream(request_of(count))]
        assert answers == list(range(count, 0, -1))


def test_execute_gives_the_first_answer_of_a_decoupled_step(rig):
    step = rig.load(COUNT_DOWN, extra=DECOUPLED)

    assert output_of(step.execute(request_of(12))) == [12.0]
    with pytest.raises(InferenceFailed, match="gave no response"):
        step.execute(request_of(0))


def test_an_error_ends_a_stream(rig):
    step = rig.load(COUNT_DOWN, extra=DECOUPLED)
    seen = []

    with pytest.raises(InferenceFailed, match="step 'step': unlucky"):
        seen.extend(output_of(answer)[0] for answer in step.stream(request_of(14)))
    assert output_of(next(iter(step.stream(request_of(5))))) == [5.0]


def test_closing_a_stream_cancels_the_model(rig):
    step = rig.load(COUNT_DOWN, extra=DECOUPLED)

    with contextlib.closing(step.stream(request_of(1_000_000))) as answers:
        assert output_of(next(answers)) == [1_000_000.0]
    assert [output_of(answer)[0] for answer in step.stream(request_of(2))] == [2.0, 1.0]


def test_a_decoupled_step_must_not_return_responses(rig):
    step = rig.load(ECHO, extra=DECOUPLED)

    with pytest.raises(InferenceFailed, match="is decoupled, so execute must return None, not list"):
        list(step.stream(request_of(1)))


FORGETFUL = """
    import threading
    import numpy as np
    import triton_python_backend_utils as pb_utils

    def answer(sender):
        sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([1], np.float32))]))

    class TritonPythonModel:
        def execute(self, requests):
            threading.Thread(target=answer, args=(requests[0].get_response_sender(),)).start()
"""


def test_a_forgotten_final_flag_does_not_hang_the_caller(rig):
    step = rig.load(FORGETFUL, extra=DECOUPLED)

    assert [output_of(answer) for answer in step.stream(request_of(1))] == [[1.0]]
