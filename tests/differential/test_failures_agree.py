"""What is wrong is wrong in both engines, with the same class of error."""

import numpy as np
import pytest

from server.domain.errors import InferenceFailed, InvalidArchive, InvalidRequest, LoadFailed, UnsupportedModel
from tests.differential.comparing import assert_agree, assert_fail_alike, request, tensor
from tests.differential.engines import staged
from tests.fakes import repositories

pytestmark = [pytest.mark.triton, pytest.mark.asyncio(loop_scope="session")]

IO = (
    "max_batch_size: 8",
    'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]',
    'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]',
)
GOOD = np.zeros((2, 4), dtype=np.float32)
BAD_REQUESTS = [
    request(tensor(GOOD.astype(np.int32), "INT32")),
    request(tensor(GOOD[:, :3])),
    request(tensor(GOOD[0])),
    request(tensor(np.zeros((9, 4), np.float32))),
    request(tensor(GOOD, name="STRANGER")),
    request(tensor(GOOD), tensor(GOOD, name="STRANGER")),
    request(),
    request(tensor(GOOD), outputs=["STRANGER"]),
]


def model(execute="return None", initialize="pass"):
    return f"""
import os
import sys
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        {initialize}

    def execute(self, requests):
        {execute}
"""


ERROR_RESPONSE = "return [pb_utils.InferenceResponse([], pb_utils.TritonError('told')) for _ in requests]"
NO_OUTPUTS = "return [pb_utils.InferenceResponse([]) for _ in requests]"
WRONG_TYPE = (
    "return [pb_utils.InferenceResponse([pb_utils.Tensor('OUTPUT0', np.zeros((2, 4), np.int32))]) for _ in requests]"
)


@pytest.mark.parametrize("build", [repositories.onnx_identity, repositories.python_echo])
async def test_requests_that_do_not_fit_the_step(engines, tmp_path, build):
    told = await assert_fail_alike(engines, staged(build(tmp_path / "step")), *BAD_REQUESTS)
    assert told == [InvalidRequest] * len(BAD_REQUESTS)


async def test_requests_that_do_not_fit_an_ensemble(engines, tmp_path):
    archive = staged(repositories.echo_pipeline(tmp_path / "pipeline"))
    told = await assert_fail_alike(engines, archive, *BAD_REQUESTS)
    assert told == [InvalidRequest] * len(BAD_REQUESTS)


@pytest.mark.parametrize(
    "execute",
    ["raise ValueError('ROOM')", ERROR_RESPONSE, "return []", "os._exit(3)", NO_OUTPUTS, WRONG_TYPE],
    ids=["raises", "error response", "too few responses", "process exits", "no outputs", "wrong datatype"],
)
async def test_python_models_that_fail(engines, tmp_path, execute):
    archive = staged(repositories.python_model(tmp_path / "BLOOM", model(execute), *IO))
    assert await assert_fail_alike(engines, archive, request(tensor(GOOD))) == [InferenceFailed]


@pytest.mark.parametrize(
    "initialize",
    ["raise ValueError('no BLOOM')", "sys.exit(3)", "os._exit(3)"],
    ids=["raises", "sys.exit", "process exits"],
)
async def test_python_models_that_do_not_initialize(engines, tmp_path, initialize):
    archive = staged(repositories.python_model(tmp_path / "step", model(initialize=initialize), *IO))
    assert await assert_fail_alike(engines, archive, request(tensor(GOOD))) == [LoadFailed]


@pytest.mark.parametrize("source", ["x = (", "x = 1"], ids=["syntax error", "no class"])
async def test_python_files_that_are_no_models(engines, tmp_path, source):
    archive = staged(repositories.python_model(tmp_path / "step", source, *IO))
    assert await assert_fail_alike(engines, archive, request(tensor(GOOD))) == [LoadFailed]


async def test_a_graph_that_does_not_parse(engines, tmp_path):
    folder = repositories.onnx_identity(tmp_path / "step")
    (folder / "1" / "model.onnx").write_bytes(b"not a graph")
    assert await assert_fail_alike(engines, staged(folder), request(tensor(GOOD))) == [LoadFailed]


@pytest.mark.parametrize(
    ("backend", "config"),
    [("onnxruntime", IO[1].replace("INPUT0", "STRANGER")), ("onnxruntime", IO[1].replace("FP32", "INT32"))],
    ids=["input name", "datatype"],
)
async def test_configs_that_do_not_fit_the_graph(engines, tmp_path, backend, config):
    folder = repositories.onnx_identity(tmp_path / "step")
    repositories.write_config(folder, 'name: "step"', f'backend: "{backend}"', IO[0], config, IO[2])
    assert await assert_fail_alike(engines, staged(folder), request(tensor(GOOD))) == [InvalidArchive]


async def test_a_backend_that_is_not_there(engines, tmp_path):
    folder = repositories.onnx_identity(tmp_path / "step")
    repositories.write_config(folder, 'name: "step"', 'backend: "fil"', *IO)
    assert await assert_fail_alike(engines, staged(folder), request(tensor(GOOD))) == [UnsupportedModel]


async def test_nothing_wrong_is_nothing_wrong(engines, tmp_path):
    await assert_agree(engines, staged(repositories.python_echo(tmp_path / "step")), request(tensor(GOOD)))
