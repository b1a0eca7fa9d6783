"""Python steps that call other models of their archive (BLS), in the server's process and in one of their own."""

import threading
from collections.abc import Iterator

import pytest

from server.domain.errors import InferenceFailed
from tests.unit.python_steps.step_folders import FakeCallees, StepRig, output_of, request_of

HOSTS = ["in-process", "isolated"]


@pytest.fixture(params=HOSTS)
def rig(request, tmp_path) -> Iterator[StepRig]:
    rig = StepRig(request.param, tmp_path)
    yield rig
    rig.close()


CALLER = """
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            request = requests[0]
            call = pb_utils.InferenceRequest(
                model_name=request.request_id(), requested_output_names=["OUT"], inputs=request.inputs(),
                request_id="r7", parameters={"p": 1},
            )
            response = call.exec()
            if response.has_error():
                raise pb_utils.TritonModelException(response.error().message())
            return [pb_utils.InferenceResponse([pb_utils.get_output_tensor_by_name(response, "OUT")])]
"""


def test_a_failed_callee_reaches_the_model_as_an_error_response(rig):
    step = rig.load(CALLER, calls=("double",), callees=FakeCallees(double=lambda data: data * 2))

    assert output_of(step.execute(request_of(1, 2, id="double"))) == [2.0, 4.0]
    with pytest.raises(InferenceFailed, match="which its archive does not give it; it may call: double"):
        step.execute(request_of(1, id="stranger"))


def test_a_call_carries_outputs_id_and_parameters(rig):
    callees = FakeCallees(double=lambda data: data * 2)
    rig.load(CALLER, calls=("double",), callees=callees).execute(request_of(1, id="double"))

    asked = callees.asked[0]
    assert (asked.outputs, asked.id, dict(asked.parameters)) == (("OUT",), "r7", {"p": 1})


def test_a_callee_that_breaks_shows_its_kind_only(rig):
    def broken(data):
        raise KeyError("secret")

    step = rig.load(CALLER, calls=("broken",), callees=FakeCallees(broken=broken))

    with pytest.raises(InferenceFailed, match="KeyError"):
        step.execute(request_of(1, id="broken"))


GATHER = """
    import asyncio
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        async def execute(self, requests):
            value = requests[0].inputs()[0].as_numpy()
            calls = [
                pb_utils.InferenceRequest(
                    model_name="double", requested_output_names=[], inputs=[pb_utils.Tensor("IN", value[i:i + 1])]
                ).async_exec()
                for i in range(len(value))
            ]
            responses = await asyncio.gather(*calls)
            together = np.concatenate([response.output_tensors()[0].as_numpy() for response in responses])
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", together)])]
"""


def test_async_calls_run_side_by_side(rig):
    together = threading.Barrier(3, timeout=30)

    def double(data):
        together.wait()
        return data * 2

    step = rig.load(GATHER, calls=("double",), callees=FakeCallees(double=double))

    assert output_of(step.execute(request_of(1, 2, 3))) == [2.0, 4.0, 6.0]


ITERATE = """
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            call = pb_utils.InferenceRequest(
                model_name="double", requested_output_names=["OUT"], inputs=requests[0].inputs()
            )
            values, answers = [], call.exec(decoupled=True)
            for response in answers:
                values.append(response.output_tensors()[0].as_numpy())
                if values[-1][0] > 90:
                    answers.cancel()
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.concatenate(values))])]
"""


def test_a_decoupled_callee_is_an_iterator_that_can_be_cancelled(rig):
    callees = FakeCallees(double=lambda data: data * 2)
    step = rig.load(ITERATE, calls=("double",), callees=callees)

    assert output_of(step.execute(request_of(1, 2, 3))) == [2.0, 4.0, 6.0]
    callees.asked.clear()
    assert output_of(step.execute(request_of(1, 50, 3, 4))) == [2.0, 100.0]
    assert len(callees.asked) == 2
