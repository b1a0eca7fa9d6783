"""Closing the connection under a call is the server's end for that call, and never its caller's cancellation."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from server.domain.inference import InferenceRequest
from server.engines.triton.wire.errors import ServerGone
from server.engines.triton.wire.grpc_client import GrpcClient


@asynccontextmanager
async def silent():
    """A client of a server that takes calls and never answers; `reached` is set once it is connected."""
    reached, over = asyncio.Event(), asyncio.Event()

    async def take(_reader, writer):
        reached.set()
        await over.wait()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    client = GrpcClient(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield client, reached
    finally:
        await client.close()
        over.set()
        server.close()
        await server.wait_closed()


async def stream(client):
    return [answer async for answer in client.stream("m", InferenceRequest({}))]


CALLS = {"load": lambda client: client.load("m"), "unload": lambda client: client.unload("m"), "stream": stream}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_under_way_hears_that_the_server_is_gone(call):
    async with silent() as (client, reached):
        running = asyncio.create_task(call(client))
        await reached.wait()
        await client.close()
        with pytest.raises(ServerGone):
            await running


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_after_the_end_hears_it_too(call):
    async with silent() as (client, _):
        await client.close()
        with pytest.raises(ServerGone):
            await call(client)


async def test_a_caller_that_is_cancelled_is_cancelled():
    async with silent() as (client, reached):
        running = asyncio.create_task(client.load("m"))
        await reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
