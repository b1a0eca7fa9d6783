"""`asyncio.timeout` for the path of every request: the same promise, at half the cost and for one use only."""

import asyncio
from types import TracebackType
from typing import Self


class TimeLimit:
    """`with TimeLimit(s) as limit:` cancels the task's block after `s` seconds and raises TimeoutError behind it.

    As with `asyncio.timeout`, a cancellation from elsewhere stays one. `is_over` tells this TimeoutError from others.
    """

    __slots__ = ("_cancelling", "_seconds", "_task", "_timer", "is_over")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.is_over = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "outside of a task nothing can be cancelled. This is a bug."
        self._task: asyncio.Task[object] = task
        self._cancelling = task.cancelling()
        self._timer = task.get_loop().call_later(max(0.0, self._seconds), self._end)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        if self.is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _end(self) -> None:
        self.is_over = True
        self._task.cancel()
