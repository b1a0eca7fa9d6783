"""The engine of a front-end worker: it runs what it was told of, where it was told, and does nothing else."""

import asyncio
import json
from contextlib import suppress

import numpy as np
import pytest

from server.domain.errors import EngineLost, InvalidRequest, UnsupportedOperation
from server.domain.inference import InferenceRequest, Tensor
from server.engines.triton.borrowed import BorrowedTriton, Whereabouts
from server.engines.triton.process.server_process import free_ports
from tests.fakes.source import step

STEP = step("model")
REQUEST = InferenceRequest({"INPUT0": Tensor("INPUT0", "FP32", np.ones(2, np.float32))})
OUTPUT = {"name": "INPUT0", "datatype": "FP32", "shape": [2], "data": [1.0, 1.0]}


@pytest.fixture
async def triton():
    """A server that says what `said` holds, status and document, and which models it was asked for in `asked`."""

    class Triton:
        said = 200, {"model_name": "x", "outputs": [OUTPUT]}
        asked: list[str]

        async def serve(self, reader, writer):
            while (head := await reader.readuntil(b"\r\n\r\n")) and (length := head.lower().index(b"content-length: ")):
                await reader.readexactly(int(head[length + 16 :].split(b"\r\n")[0]))
                self.asked.append(head.split(b"/")[3].decode())
                status, document = self.said
                text = json.dumps(document).encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(text)) + text)

    fake = Triton()
    fake.asked = []
    fake.left = asyncio.Event()
    fake.left.set()

    async def serve(reader, writer):
        fake.left.clear()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await fake.serve(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        fake.left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    yield fake
    server.close()
    await server.wait_closed()


@pytest.fixture
async def engine(triton):
    made = BorrowedTriton(connections=2)
    yield made
    made.close()
    await triton.left.wait()


async def test_it_asks_where_it_was_told(engine, triton):
    engine.learn(STEP, Whereabouts(triton.port, "rh_1", "cpu", {}))
    answer = await engine.infer(STEP.digest, REQUEST)
    assert triton.asked == ["rh_1"]
    assert answer.outputs[0].data.tolist() == [1.0, 1.0]


async def test_refusals_are_told_in_the_authors_words(engine, triton):
    name = "rh_" + "0" * 32
    engine.learn(STEP, Whereabouts(triton.port, name, "cpu", {name: "my model"}))
    triton.said = 400, {"error": f"[request id: 1] unexpected shape for {name}"}
    with pytest.raises(InvalidRequest, match="unexpected shape for my model"):
        await engine.infer(STEP.digest, REQUEST)
    triton.said = 500, {"error": f"Stub process '{name}_0' is not healthy."}
    with pytest.raises(EngineLost):  # the supervising process has to know of that
        await engine.infer(STEP.digest, REQUEST)


async def test_where_nobody_answers_the_engine_is_lost(engine, triton):
    (nobody,) = free_ports(1)
    engine.learn(STEP, Whereabouts(triton.port, "old", "cpu", {}))
    engine.learn(STEP, Whereabouts(nobody, "new", "cpu", {}))
    with pytest.raises(EngineLost):
        await engine.infer(STEP.digest, REQUEST)
    assert triton.asked == []


async def test_a_step_is_forgotten_with_the_last_who_needs_it(engine, triton):
    for _ in range(2):
        engine.learn(STEP, Whereabouts(triton.port, "rh_1", "cpu", {}))
    engine.forget(STEP.digest)
    await engine.infer(STEP.digest, REQUEST)
    engine.forget(STEP.digest)
    with pytest.raises(KeyError):
        await engine.infer(STEP.digest, REQUEST)


async def test_it_neither_loads_nor_unloads_nor_streams(engine):
    with pytest.raises(UnsupportedOperation):
        engine.predict(STEP)
    with pytest.raises(UnsupportedOperation):
        await engine.load(STEP)
    with pytest.raises(UnsupportedOperation):
        await engine.unload(STEP.digest)
    with pytest.raises(UnsupportedOperation):
        await anext(engine.stream(STEP.digest, REQUEST))
