"""The same archives through the real Triton and through the embedded engine: equal answers."""

import numpy as np
import pytest

from server.domain.inference import NUMPY_BY_DATATYPE
from tests.differential.comparing import assert_agree, request, tensor
from tests.differential.engines import staged
from tests.fakes import repositories

pytestmark = [pytest.mark.triton, pytest.mark.asyncio(loop_scope="session")]

NUMBERS = ["BOOL", "UINT8", "INT8", "INT32", "INT64", "FP16", "FP32", "FP64"]
SENTENCES = [["a", ""], ["déjà vu\n", "\x00"]]


def numbers(datatype, shape=(2, 4)):
    return np.arange(np.prod(shape)).reshape(shape).astype(NUMPY_BY_DATATYPE[datatype])


def strings():
    return np.array([[text.encode() for text in row] for row in SENTENCES], dtype=np.object_)


async def test_an_onnx_pipeline_gives_the_same_numbers(engines, tmp_path):
    archive = staged(repositories.linear_pipeline(tmp_path / "pipeline"))
    inputs = np.random.default_rng(7).standard_normal((3, 4)).astype(np.float32)
    answers = await assert_agree(engines, archive, request(tensor(inputs)))
    np.testing.assert_allclose(
        answers[0].outputs[0].data, repositories.linear_pipeline_answer(inputs), rtol=1e-5, atol=1e-5
    )


async def test_weights_in_an_external_file_are_found(engines, tmp_path):
    archive = staged(repositories.linear_pipeline(tmp_path / "pipeline", ballast_bytes=4096, is_external=True))
    await assert_agree(engines, archive, request(tensor(numbers("FP32"))))


async def test_a_python_step_feeds_an_onnx_step(engines, tmp_path):
    archive = staged(repositories.echo_pipeline(tmp_path / "pipeline"))
    await assert_agree(engines, archive, request(tensor(numbers("FP32"))))


async def test_every_number_type_passes_through_onnx(engines, tmp_path):
    for datatype in NUMBERS:
        archive = staged(repositories.onnx_identity(tmp_path / f"identity_{datatype.lower()}", datatype=datatype))
        await assert_agree(engines, archive, request(tensor(numbers(datatype), datatype)))


async def test_every_number_type_passes_through_python(engines, tmp_path):
    for datatype in ["BOOL", "UINT16", "FP16", "FP64"]:
        archive = staged(repositories.python_echo(tmp_path / f"echo_{datatype.lower()}", datatype=datatype))
        await assert_agree(engines, archive, request(tensor(numbers(datatype), datatype)))


@pytest.mark.parametrize("build", [repositories.onnx_identity, repositories.python_echo])
async def test_strings_keep_every_byte(engines, tmp_path, build):
    archive = staged(build(tmp_path / "strings", datatype="BYTES", dims=[2]))
    answers = await assert_agree(engines, archive, request(tensor(strings(), "BYTES")))
    assert answers[0].outputs[0].data.tolist() == strings().tolist()


async def test_unbatched_models_with_dynamic_axes(engines, tmp_path):
    archive = staged(repositories.python_echo(tmp_path / "echo", dims=[-1, 2], max_batch_size=0))
    await assert_agree(
        engines, archive, request(tensor(numbers("FP32", (3, 2)))), request(tensor(numbers("FP32", (1, 2))))
    )


async def test_a_tensor_without_elements(engines, tmp_path):
    archive = staged(repositories.python_echo(tmp_path / "echo", dims=[-1], max_batch_size=0))
    await assert_agree(engines, archive, request(tensor(numbers("FP32", (0,)))))


async def test_large_tensors(engines, tmp_path):
    archive = staged(repositories.onnx_identity(tmp_path / "identity", dims=[-1], max_batch_size=0))
    await assert_agree(engines, archive, request(tensor(numbers("FP32", (3_000_000,)))))


TWO_OUTPUTS = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            other = pb_utils.get_input_tensor_by_name(request, "INPUT1")
            total = array if other is None else array + other.as_numpy()
            responses.append(
                pb_utils.InferenceResponse([pb_utils.Tensor("SUM", total), pb_utils.Tensor("DOUBLE", array * 2)])
            )
        return responses
"""


async def test_optional_inputs_and_chosen_outputs(engines, tmp_path):
    folder = repositories.python_model(
        tmp_path / "two",
        TWO_OUTPUTS,
        "max_batch_size: 4",
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ] },'
        ' { name: "INPUT1" data_type: TYPE_FP32 dims: [ 4 ] optional: true } ]',
        'output [ { name: "SUM" data_type: TYPE_FP32 dims: [ 4 ] },'
        ' { name: "DOUBLE" data_type: TYPE_FP32 dims: [ 4 ] } ]',
    )
    first, second = tensor(numbers("FP32")), tensor(numbers("FP32"), name="INPUT1")
    answers = await assert_agree(
        engines,
        staged(folder),
        request(first),
        request(first, second),
        request(first, outputs=["DOUBLE"]),
        request(first, outputs=["DOUBLE", "SUM"]),
    )
    assert [[each.name for each in answer.outputs] for answer in answers] == [
        ["SUM", "DOUBLE"],
        ["SUM", "DOUBLE"],
        ["DOUBLE"],
        ["DOUBLE", "SUM"],
    ]


TELL = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("TOLD", np.array([json.dumps(json.loads(request.parameters()), sort_keys=True)], dtype=np.object_))])
            for request in requests
        ]
"""


async def test_request_parameters_reach_the_model(engines, tmp_path):
    folder = repositories.python_model(
        tmp_path / "tell",
        TELL,
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]',
        'output [ { name: "TOLD" data_type: TYPE_STRING dims: [ 1 ] } ]',
    )
    each = request(tensor(numbers("FP32", (1,))), tone="warm", count=3, is_loud=True)
    await assert_agree(engines, staged(folder), each)
