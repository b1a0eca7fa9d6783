"""Python steps that call other steps of their archive, and decoupled steps: both engines alike."""

import numpy as np
import pytest

from server.domain.errors import InferenceFailed, InvalidRequest, UnsupportedModel
from tests.differential.comparing import (
    assert_agree,
    assert_fail_alike,
    assert_same,
    outcomes,
    request,
    streamed,
    tensor,
)
from tests.differential.engines import resident, staged
from tests.fakes import repositories

pytestmark = [pytest.mark.triton, pytest.mark.asyncio(loop_scope="session")]

IO = (
    'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]',
    'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]',
)
CALLS = 'parameters { key: "CALLS" value { string_value: "author_echo" } }'
INPUTS = np.arange(8, dtype=np.float32).reshape(2, 4)

CALLER = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            call = pb_utils.InferenceRequest(
                model_name="%s",
                requested_output_names=["OUTPUT0"],
                inputs=[pb_utils.get_input_tensor_by_name(request, "INPUT0")],
            )
            answer = call.exec()
            if answer.has_error():
                responses.append(pb_utils.InferenceResponse([], error=answer.error()))
                continue
            array = pb_utils.get_output_tensor_by_name(answer, "OUTPUT0").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", array + 1)]))
        return responses
"""

ASYNC_CALLER = """
import asyncio
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    async def execute(self, requests):
        responses = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "INPUT0")
            calls = [
                pb_utils.InferenceRequest(
                    model_name="author_echo", requested_output_names=["OUTPUT0"], inputs=[tensor]
                ).async_exec()
                for _ in range(3)
            ]
            arrays = [pb_utils.get_output_tensor_by_name(a, "OUTPUT0").as_numpy() for a in await asyncio.gather(*calls)]
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", sum(arrays))]))
        return responses
"""

COUNTDOWN = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            count = int(pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()[0])
            for number in range(count, 0, -1):
                sender.send(
                    pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", np.array([number], dtype=np.int32))])
                )
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None
"""


def caller_archive(root, source):
    repositories.python_echo(root / "author_echo")
    repositories.python_model(root / "caller", source, "max_batch_size: 8", CALLS, *IO)
    return staged(root)


def countdown(folder):
    return staged(
        repositories.python_model(
            folder,
            COUNTDOWN,
            'input [ { name: "INPUT0" data_type: TYPE_INT32 dims: [ 1 ] } ]',
            'output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 1 ] } ]',
            "model_transaction_policy { decoupled: true }",
        )
    )


async def test_a_call_by_the_authors_name_reaches_the_step(engines, tmp_path):
    archive = caller_archive(tmp_path / "calls", CALLER % "author_echo")
    answers = await assert_agree(engines, archive, request(tensor(INPUTS)))
    np.testing.assert_array_equal(answers[0].outputs[0].data, INPUTS + 1)


async def test_calls_may_run_side_by_side(engines, tmp_path):
    answers = await assert_agree(engines, caller_archive(tmp_path / "calls", ASYNC_CALLER), request(tensor(INPUTS)))
    np.testing.assert_array_equal(answers[0].outputs[0].data, INPUTS * 3)


async def test_a_call_of_a_model_outside_the_archive_fails(engines, tmp_path):
    archive = caller_archive(tmp_path / "calls", CALLER % "stranger")
    assert await outcomes(engines, archive, [request(tensor(INPUTS))]) == [[InferenceFailed], [InferenceFailed]]


async def test_a_step_that_calls_works_inside_an_ensemble(engines, tmp_path):
    root = tmp_path / "calls"
    repositories.python_echo(root / "author_echo")
    repositories.python_model(root / "caller", CALLER % "author_echo", "max_batch_size: 8", CALLS, *IO)
    repositories.chain_ensemble(root / "pipeline", ["caller", "author_echo"])
    await assert_agree(engines, staged(root), request(tensor(INPUTS)))


@pytest.mark.parametrize("count", [0, 1, 4])
async def test_a_decoupled_step_streams_all_its_answers(engines, tmp_path, count):
    archive = countdown(tmp_path / "countdown")
    each = request(tensor(np.array([count], dtype=np.int32), "INT32"))
    first, second = [await streamed(engine, archive, each) for engine in engines]
    assert [answer.outputs[0].data.tolist() for answer in first] == [[n] for n in range(count, 0, -1)]
    for one, other in zip(first, second, strict=True):
        assert_same(one, other)


async def test_a_decoupled_step_does_not_answer_infer(engines, tmp_path):
    archive = countdown(tmp_path / "countdown")
    each = request(tensor(np.array([1], dtype=np.int32), "INT32"))
    assert await assert_fail_alike(engines, archive, each) == [UnsupportedModel]


async def test_a_stream_refuses_what_does_not_fit(engines, tmp_path):
    archive = countdown(tmp_path / "countdown")
    for engine in engines:
        with pytest.raises(InvalidRequest):
            await streamed(engine, archive, request(tensor(np.array([1.5], dtype=np.float32))))


async def test_a_stream_may_be_left_early(engines, tmp_path):
    archive = countdown(tmp_path / "countdown")
    for engine in engines:
        async with resident(engine, archive) as entry:
            answers = engine.stream(entry, request(tensor(np.array([4], dtype=np.int32), "INT32")))
            assert (await anext(answers)).outputs[0].data.tolist() == [4]
            await answers.aclose()


async def test_a_step_that_is_not_decoupled_streams_one_answer(engines, tmp_path):
    archive = staged(repositories.python_echo(tmp_path / "echo"))
    first, second = [await streamed(engine, archive, request(tensor(INPUTS))) for engine in engines]
    assert len(first) == len(second) == 1
    assert_same(first[0], second[0])
