"""Triton's binary tensors, and the connection that carries them."""

import asyncio
import contextlib

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from server.domain.errors import InferenceFailed
from server.domain.inference import NUMPY_BY_DATATYPE, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import ModelSignature, Step, TensorSpec
from server.engines.triton.process.log_tail import LONGEST_LINE, LogTail
from server.engines.triton.wire.answers import answered
from server.engines.triton.wire.binary_tensors import decode_response, decode_tensor, encode_request, encode_tensor
from server.engines.triton.wire.connection_pool import ConnectionPool
from server.engines.triton.wire.errors import ServerGone
from server.engines.triton.wire.grpc_client import infer_message, stream_status

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
NUMBERS = st.sampled_from(sorted(set(NUMPY_BY_DATATYPE) - {"BYTES"})).flatmap(
    lambda datatype: st.tuples(st.just(datatype), hnp.arrays(NUMPY_BY_DATATYPE[datatype], SHAPES))
)
STRINGS = st.tuples(st.just("BYTES"), hnp.arrays(np.object_, SHAPES, elements=st.binary(max_size=9)))


@given(NUMBERS | STRINGS)
def test_what_is_encoded_is_decoded(case):
    datatype, array = case
    tensor = decode_tensor("X", datatype, array.shape, encode_tensor(Tensor("X", datatype, array)))
    assert tensor.data.dtype == NUMPY_BY_DATATYPE[datatype]
    if datatype == "BYTES":
        assert tensor.data.tolist() == array.tolist()
    else:
        np.testing.assert_array_equal(tensor.data, array)


def test_arrays_that_are_not_contiguous_are_sent_row_by_row():
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(
        decode_tensor("X", "FP32", (3, 2), encode_tensor(Tensor("X", "FP32", array))).data, array
    )


def request(**changes):
    tensor = Tensor("X", "FP32", np.zeros((1, 2), np.float32))
    return InferenceRequest({"X": tensor}, **changes)


def test_a_request_asks_for_binary_outputs():
    head, pieces = encode_request(request(id="7", parameters={"a": 1.5}))
    assert orjson.loads(head) == {
        "id": "7",
        "parameters": {"a": 1.5, "binary_data_output": True},
        "inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
    }
    assert b"".join(pieces) == bytes(8)
    head, _ = encode_request(request(outputs=("Y",)))
    assert orjson.loads(head)["outputs"] == [{"name": "Y", "parameters": {"binary_data": True}}]


def test_an_answer_may_mix_binary_and_json():
    head = orjson.dumps(
        {
            "parameters": {"sequence_id": 0, "sequence_start": False, "sequence_end": False, "own": 3},
            "outputs": [
                {"name": "A", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": 8}},
                {"name": "B", "datatype": "FP32", "shape": [0], "data": []},
                {"name": "C", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}},
            ],
        }
    )
    body = head + np.array([1, 2], np.int32).tobytes() + b"\x02\0\0\0hi"
    response = decode_response(body, len(head))
    assert [tensor.data.tolist() for tensor in response.outputs] == [[1, 2], [], [b"hi"]]
    assert dict(response.parameters) == {"own": 3}


def test_the_protobuf_request_carries_parameters_by_their_type():
    message = infer_message("m", request(parameters={"s": "x", "b": True, "i": 2, "f": 0.5}, outputs=("Y",)))
    told = {name: value.WhichOneof("parameter_choice") for name, value in message.parameters.items()}
    del told["triton_enable_empty_final_response"]
    assert told == {"s": "string_param", "b": "bool_param", "i": "int64_param", "f": "double_param"}
    assert [output.name for output in message.outputs] == ["Y"]


@pytest.mark.parametrize(
    ("text", "status"),
    [("[request id: 1] wrong", 400), ("the model says no", 500), ("[request id: 1] Exceeds maximum queue size", 503)],
)
def test_bare_messages_of_a_stream_have_a_status(text, status):
    assert stream_status(text) == status


SIGNATURE = ModelSignature("python", 0, (), (TensorSpec("A", "FP32", (1,)), TensorSpec("B", "INT32", (1,))))
STEP = Step("d" * 64, "step", "python", None, SIGNATURE)
A, B = Tensor("A", "FP32", np.zeros(1, np.float32)), Tensor("B", "INT32", np.zeros(1, np.int32))


def test_outputs_come_in_the_order_of_the_config_or_of_the_request():
    response = InferenceResponse((B, A))
    assert answered(STEP, request(), response).outputs == (A, B)
    assert answered(STEP, request(outputs=("B", "A")), response).outputs == (B, A)


@pytest.mark.parametrize("outputs", [(A,), (A, Tensor("B", "FP32", A.data))], ids=["missing", "other datatype"])
def test_an_answer_that_breaks_the_configs_promise_is_a_failure(outputs):
    with pytest.raises(InferenceFailed, match="'B'"):
        answered(STEP, request(), InferenceResponse(outputs))


class FakeTriton:
    """Answers every request as it is told; an empty answer hangs up."""

    def __init__(self):
        self.connections = 0
        self.serving = set()
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nInference-Header-Content-Length: 1\r\n\r\n{}"

    async def serve(self, reader, writer):
        self.connections += 1
        self.serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self.answer_one(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def answer_one(self, reader, writer):
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().splitlines()
        await reader.readexactly(sum(int(line[15:]) for line in lines if line.startswith(b"content-length:")))
        writer.write(self.answer)
        return bool(self.answer)


@pytest.fixture
async def served():
    fake = FakeTriton()
    async with await asyncio.start_server(fake.serve, "127.0.0.1", 0) as server:
        pool = ConnectionPool("127.0.0.1", server.sockets[0].getsockname()[1], limit=2)
        yield fake, pool
        pool.close()
        if fake.serving:
            await asyncio.wait(fake.serving)


HEAD = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"


async def test_connections_are_used_again_and_bounded(served):
    fake, pool = served
    answers = await asyncio.gather(*(pool.exchange(HEAD, [b"body"]) for _ in range(9)))
    assert {(each.status, each.head_bytes, each.body) for each in answers} == {(200, 1, b"{}")}
    assert fake.connections == 2


async def test_large_bodies_are_sent_in_pieces(served):
    _, pool = served
    head = b"POST / HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n"
    answer = await pool.exchange(head, [memoryview(bytes(2_000_000))] * 2)
    assert answer.status == 200


async def test_a_connection_that_breaks_is_a_server_that_is_gone(served):
    fake, pool = served
    fake.answer = b""
    with pytest.raises(ServerGone):
        await pool.exchange(HEAD, [b"body"])
    fake.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert (await pool.exchange(HEAD, [b"body"])).body == b""


async def test_what_is_not_http_is_a_server_that_is_gone(served):
    fake, pool = served
    fake.answer = b"garbage\r\n\r\n"
    with pytest.raises(ServerGone):
        await pool.exchange(HEAD, [b"body"])


async def test_a_cancelled_request_gives_its_place_back(served):
    fake, pool = served
    fake.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"  # and no body: everybody waits
    stuck = [asyncio.create_task(pool.exchange(HEAD, [b"body"])) for _ in range(3)]
    await asyncio.wait(stuck, timeout=0.05)
    fake.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    for task in stuck[:2]:
        task.cancel()
    assert (await stuck[2]).status == 200


async def test_nobody_listens():
    pool = ConnectionPool("127.0.0.1", 1, limit=1)
    for _ in range(2):
        with pytest.raises(ServerGone):
            await pool.exchange(HEAD, [])


class Pipe:
    def __init__(self, *chunks):
        self.chunks = list(chunks)

    async def read(self, n=-1):
        return self.chunks.pop(0) if self.chunks else b""


async def test_the_log_keeps_its_last_lines_and_cuts_long_ones():
    tail = LogTail(limit=3)
    await tail.follow(Pipe(b"one\ntw", b"o\n\nthree\n", b"x" * 5000, b"y\nfi", b"ve"))
    assert tail.lines == ("three", "x" * (LONGEST_LINE), "five")
    assert tail.last(1) == "five"
