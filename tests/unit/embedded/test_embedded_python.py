"""Python steps inside the engine: ensembles with them, and calls from them to models of other backends."""

import numpy as np
import pytest

from server.domain.errors import InferenceFailed
from server.domain.inference import InferenceRequest, Tensor
from server.engines.embedded.engine import EmbeddedEngine
from tests.fakes import repositories

CALLER = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            called = pb_utils.InferenceRequest(
                model_name="linear",
                requested_output_names=["OUTPUT0"],
                inputs=[pb_utils.get_input_tensor_by_name(request, "INPUT0")],
            ).exec()
            if called.has_error():
                raise pb_utils.TritonModelException(called.error().message())
            answer = pb_utils.get_output_tensor_by_name(called, "OUTPUT0").as_numpy() * 2
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", answer)]))
        return responses
"""
IN_PROCESS = 'parameters { key: "EXECUTION" value: { string_value: "in-process" } }'


@pytest.fixture
async def ask(tmp_path):
    """Load what lies in `tmp_path`, and run [2, 4] through its entry model."""
    engine = EmbeddedEngine()
    await engine.start(lambda lost: None)

    async def ask_(data):
        steps = repositories.staged_steps(tmp_path)
        for step in steps:
            await engine.load(step)
        answer = await engine.infer(steps[-1].digest, InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", data)}))
        return answer.outputs[0].data

    yield ask_
    await engine.stop()


DATA = np.arange(8, dtype=np.float32).reshape(2, 4)


async def test_an_ensemble_of_python_and_onnx(ask, tmp_path):
    repositories.echo_pipeline(tmp_path)
    np.testing.assert_array_equal(await ask(DATA), DATA)


@pytest.mark.parametrize("where", ["", IN_PROCESS])
async def test_a_python_step_calls_an_onnx_step_with_one_instance(ask, tmp_path, where):
    repositories.onnx_linear(tmp_path / "linear", extra="instance_group { count: 1 kind: KIND_CPU }")
    repositories.python_model(
        tmp_path / "caller",
        CALLER,
        "max_batch_size: 8",
        f"input [ {repositories.tensor_entry('INPUT0', 'FP32', [4])} ]",
        f"output [ {repositories.tensor_entry('OUTPUT0', 'FP32', [2])} ]",
        where,
    )
    np.testing.assert_allclose(await ask(DATA), 2 * DATA @ repositories.linear_weights(), rtol=1e-5)


async def test_what_a_python_step_raises_names_it(ask, tmp_path):
    repositories.python_echo(tmp_path / "echo")
    (tmp_path / "echo" / "1" / "model.py").write_text(
        "class TritonPythonModel:\n    def execute(self, requests):\n        raise ValueError('no such word')\n"
    )
    repositories.onnx_identity(tmp_path / "identity")
    repositories.chain_ensemble(tmp_path / "pipeline", ["echo", "identity"])
    with pytest.raises(InferenceFailed, match=r"step 'echo'.*no such word"):
        await ask(DATA)
