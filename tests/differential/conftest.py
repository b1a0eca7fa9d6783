"""One tritonserver and one embedded engine for all differential tests, on one event loop."""

import pytest_asyncio

from tests.differential.engines import running_embedded, running_triton


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def triton(tmp_path_factory):
    async with running_triton(tmp_path_factory.mktemp("triton")) as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded():
    async with running_embedded() as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines(triton, embedded):
    return (triton, embedded)
