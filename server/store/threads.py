"""The store's blocking work, in two bounded thread pools: a slow transfer never holds up a cheap check."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from server.domain.errors import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class StoreThreads:
    """Pools for checks (stat, HEAD) and for transfers (download, unpack, hash)."""

    def __init__(self, checks: int = 8, transfers: int = 4, check_patience_s: float = 2.0) -> None:
        """`check_patience_s`: how long `close` waits for checks. They only read, and a silent store holds them long."""
        self.transfers = transfers
        """How many transfers run side by side."""
        self._check_patience_s = check_patience_s
        self._checks = ThreadPoolExecutor(checks, thread_name_prefix="store-check")
        self._transfers = ThreadPoolExecutor(transfers, thread_name_prefix="store-transfer")
        self._checking: set[asyncio.Future[Any]] = set()

    async def check(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run short blocking work. A cancelled caller leaves at once; the work ends by itself and is dropped."""
        future = _submit(self._checks, work, *args, **kwargs)
        self._checking.add(future)
        future.add_done_callback(self._checking.discard)
        return await asyncio.shield(future)

    async def transfer(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run long blocking work that writes files.

        A cancelled caller leaves only when the thread has ended, so that it may clean up the files that it wrote.
        """
        future = _submit(self._transfers, work, *args, **kwargs)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await _ended(future)
            raise

    async def close(self) -> None:
        """Drop queued work, wait for running transfers, and for checks as long as patience lasts. Idempotent.

        The thread of a check that still waits stays; whoever ends the process has to do so without joining it.
        """
        self._checks.shutdown(wait=False, cancel_futures=True)
        if self._checking:
            await asyncio.wait(self._checking, timeout=self._check_patience_s)
        await asyncio.to_thread(self._transfers.shutdown, wait=True, cancel_futures=True)


def _submit(pool: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    try:
        future = asyncio.wrap_future(pool.submit(work, *args, **kwargs))
    except RuntimeError as error:  # the pool is shut down
        raise StoreUnavailable("the store is closed: the server is stopping") from error
    future.add_done_callback(_retrieve)
    return future


async def _ended(future: asyncio.Future[T]) -> None:
    """Wait until `future` is done, however often the waiter is cancelled meanwhile."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue


def _retrieve(future: asyncio.Future[T]) -> None:
    """Look at the outcome, so that asyncio does not warn where every waiter had left."""
    if not future.cancelled():
        future.exception()
