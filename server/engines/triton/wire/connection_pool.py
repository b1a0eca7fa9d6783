"""The pool of keep-alive connections to one tritonserver."""

import asyncio
from collections import deque
from collections.abc import Sequence

from server.engines.triton.wire.binary_tensors import Piece
from server.engines.triton.wire.connection import Connection, HttpAnswer
from server.engines.triton.wire.errors import ServerGone


class ConnectionPool:
    """At most `limit` connections to one address; the most recently used one is taken first."""

    def __init__(self, host: str, port: int, limit: int) -> None:
        self._address = (host, port)
        self._limit = limit
        self._idle: list[Connection] = []
        self._count = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_closed = False
        self._all: set[Connection] = set()

    async def exchange(self, head: bytes, pieces: Sequence[Piece]) -> HttpAnswer:
        """Send one request on a free connection, waiting for one if all are busy. Raises ServerGone."""
        connection = await self._take()
        is_done = False
        try:
            answer = await connection.exchange(head, pieces)
            is_done = True
            return answer
        finally:
            self._give_back(connection, is_reusable=is_done)

    def close(self) -> None:
        """Drop all connections; requests under way fail with ServerGone."""
        self._is_closed = True
        for connection in tuple(self._all):
            connection.close()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _take(self) -> Connection:
        while not self._is_closed:
            while self._idle:
                connection = self._idle.pop()
                if connection.is_open:
                    return connection
                self._forget(connection)
            if self._count < self._limit:
                return await self._connect()
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # it was this one's turn; pass it on
                raise
        raise ServerGone

    async def _connect(self) -> Connection:
        self._count += 1
        try:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, *self._address)
        except BaseException as error:
            self._count -= 1
            self._wake_one()
            if isinstance(error, OSError):
                raise ServerGone from error
            raise
        self._all.add(connection)
        if self._is_closed:
            connection.close()
        return connection

    def _give_back(self, connection: Connection, *, is_reusable: bool) -> None:
        if is_reusable and connection.is_open:
            self._idle.append(connection)
        else:
            connection.close()
            self._forget(connection)
        self._wake_one()

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._count -= 1

    def _wake_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
