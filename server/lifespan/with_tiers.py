"""The tiers below the devices in the life of the server: guessing ends first, what is kept in memory last."""

import asyncio

from server.lifespan.process import Life
from server.lifespan.rounds import Rounds
from server.store.host.tier import HostTier


def with_tiers(life: Life, host: HostTier | None, prefetching: Rounds | None) -> Life:
    """Return the life of a server that also keeps files in host memory, and guesses what will be asked for."""

    async def begin() -> None:
        await life.begin()
        if prefetching is not None:
            prefetching.begin()

    async def end() -> None:
        if prefetching is not None:
            await prefetching.end()
        await life.end()
        if host is not None:
            await asyncio.to_thread(host.close)

    return Life(begin, life.drain, end)
