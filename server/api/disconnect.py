"""Stops working for a client that went away.

A watcher costs a task per request, more than a short request itself. So it starts only after a while: a request that
is done by then was not worth stopping.
"""

import asyncio
from types import TracebackType
from typing import Final

from starlette.types import Receive

from server.api.body import ClientGone

WATCH_AFTER_S: Final = 0.02


class ClientWatch:
    """`with ClientWatch(receive): await work()` cancels the work when the client disconnects, and raises ClientGone.

    The body has to be read completely before: from then on `receive` waits for the disconnect.
    """

    __slots__ = ("_is_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._is_gone = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = task.get_loop().call_later(WATCH_AFTER_S, self._start)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._is_gone and isinstance(error, asyncio.CancelledError) and not self._task.uncancel():
            raise ClientGone from error

    def _start(self) -> None:
        self._watcher = self._task.get_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        self._task.cancel()
