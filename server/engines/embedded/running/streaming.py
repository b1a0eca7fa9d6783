"""From a blocking iterator on a worker thread to an asynchronous one, with back-pressure and cancellation."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing
from contextvars import ContextVar
from typing import Final, Generic, TypeVar

from server.engines.embedded.running.workers import Workers

T = TypeVar("T")

_AHEAD: Final = 4
_END: Final = object()


def _never() -> bool:
    return False


reader_has_left: Final[ContextVar[Callable[[], bool]]] = ContextVar("reader_has_left", default=_never)
"""Set while a stream is iterated on a worker thread: a model that says nothing for long asks it whether to go on."""


class Stream(Generic[T]):
    """Iterates `answers()` on a worker thread, at most a few items ahead of its reader."""

    def __init__(self, workers: Workers, answers: Callable[[], Iterator[T]], on_end: Callable[[], None]) -> None:
        """`on_end` runs on the worker thread when the iterator has ended, failed or been closed."""
        self._workers = workers
        self._answers = answers
        self._on_end = on_end
        self._room = threading.Semaphore(_AHEAD)
        self._is_cancelled = False

    async def items(self) -> AsyncGenerator[T, None]:
        """The items. Closing this generator closes the blocking iterator before its next item."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[object] = asyncio.Queue()
        self._workers.submit(lambda: self._pump(loop, inbox))
        try:
            while (item := await inbox.get()) is not _END:
                self._room.release()
                if isinstance(item, _Failure):
                    raise item.error
                yield item  # type: ignore[misc]
        finally:
            self._is_cancelled = True
            self._room.release()

    def _pump(self, loop: asyncio.AbstractEventLoop, inbox: "asyncio.Queue[object]") -> None:
        last: object = _END
        token = reader_has_left.set(lambda: self._is_cancelled)
        try:
            with closing(iterate(self._answers())) as answers:
                for answer in answers:
                    self._room.acquire()
                    if self._is_cancelled:
                        break
                    loop.call_soon_threadsafe(inbox.put_nowait, answer)
        except BaseException as error:
            last = _Failure(error)
        finally:
            reader_has_left.reset(token)
            self._on_end()
        try:
            loop.call_soon_threadsafe(inbox.put_nowait, last)
        except RuntimeError:  # the loop is closed: nobody reads any more
            return


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error: Final = error


def iterate(answers: Iterator[T]) -> Generator[T, None, None]:
    """A generator over any iterator: it can be closed early, and then closes a generator inside."""
    yield from answers
