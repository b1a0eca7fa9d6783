"""Threads that models run on. Work never queues behind other work: an idle thread takes it, or a new one.

Whoever submits holds an instance of a step already, so the number of threads is bounded by the loaded instances.
(`ThreadPoolExecutor` queues when it is full, which would deadlock nested calls, and costs twice the hop.)
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")
Work: TypeAlias = "Callable[[], Callable[[], None] | None]"
"""Must not raise. What it returns is called once its thread is idle again, and must not block."""

_MAX_IDLE: Final = 64


class Workers:
    """A pool that grows to what runs at once and keeps some idle threads."""

    def __init__(self, name: str = "worker") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Work | None]] = []
        self._threads: set[threading.Thread] = set()
        self._is_closed = False
        self._count = 0

    def submit(self, work: Work) -> None:
        """Run `work` on a thread of the pool, now."""
        with self._lock:
            inbox = self._idle.pop() if self._idle else self._new_thread()
        inbox.put(work)

    async def call(self, work: Callable[[], T]) -> T:
        """Run `work` on a thread and await what it returns or raises. Cancelling leaves the work running.

        Whoever then calls again finds that thread idle.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def run() -> Callable[[], None]:
            try:
                return partial(_tell, loop, _succeed, done, work())
            except BaseException as error:
                return partial(_tell, loop, _fail, done, error)

        self.submit(run)
        return await done

    def close(self) -> None:
        """End the threads once they are idle; blocks until they have ended."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            threads = list(self._threads)
        for inbox in idle:
            inbox.put(None)
        for thread in threads:
            thread.join()

    def _new_thread(self) -> "SimpleQueue[Work | None]":
        inbox: SimpleQueue[Work | None] = SimpleQueue()
        self._count += 1
        thread = threading.Thread(target=self._live, args=(inbox,), name=f"{self._name}-{self._count}", daemon=True)
        self._threads.add(thread)
        thread.start()
        return inbox

    def _live(self, inbox: "SimpleQueue[Work | None]") -> None:
        while (work := inbox.get()) is not None:
            tell = work()
            del work  # an idle thread must not keep a request's arrays alive
            with self._lock:
                is_needed = not self._is_closed and len(self._idle) < _MAX_IDLE
                if is_needed:
                    self._idle.append(inbox)
            if tell is not None:
                tell()
            del tell
            if not is_needed:
                break
        with self._lock:
            self._threads.discard(threading.current_thread())


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *facts: object) -> None:
    try:
        loop.call_soon_threadsafe(what, *facts)
    except RuntimeError:  # the loop is closed: nobody waits for the answer any more
        return


def _succeed(done: "asyncio.Future[T]", result: T) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: "asyncio.Future[T]", error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
