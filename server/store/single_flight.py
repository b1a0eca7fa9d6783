"""One piece of work per key at a time, shared by everybody who asks for it."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from server.domain.errors import StoreUnavailable

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Callers with the same key share one task; a caller that is cancelled leaves without harming the others.

    Work goes on when nobody waits any more: its result is kept by whoever does the work, and the next caller is glad.
    """

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[T]] = {}

    def get(self, key: K) -> asyncio.Task[T] | None:
        """The work for `key` that is under way."""
        return self._flights.get(key)

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The flight for `key`, started if there is none. Nobody needs to wait for it."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(work())
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    async def join(self, flight: asyncio.Task[T]) -> T:
        """Wait for a flight.

        Raises:
            StoreUnavailable: `close` ended the flight. And whatever the work raises.
        """
        try:
            return await asyncio.shield(flight)
        except asyncio.CancelledError as error:
            caller = asyncio.current_task()
            if flight.cancelled() and caller is not None and not caller.cancelling():
                raise StoreUnavailable("the store is closed: the server is stopping") from error
            raise

    async def close(self) -> None:
        """Cancel every flight and wait until each has ended."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _landed(self, key: K, flight: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # looked at, so that asyncio does not warn where every waiter had left
