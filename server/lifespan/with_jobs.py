"""Asynchronous inference in the life of the server: it begins when archives can be asked for, and drains with them."""

import asyncio

from server.jobs.async_jobs import AsyncJobs
from server.lifespan.process import Life


def with_jobs(life: Life, jobs: AsyncJobs | None) -> Life:
    """Return the life of a server that also carries out jobs."""
    if jobs is None:
        return life

    async def begin() -> None:
        await life.begin()
        await jobs.begin()

    async def drain(timeout_s: float) -> None:
        await asyncio.gather(life.drain(timeout_s), jobs.drain(timeout_s))

    async def end() -> None:
        await jobs.end()
        await life.end()

    return Life(begin, drain, end)
