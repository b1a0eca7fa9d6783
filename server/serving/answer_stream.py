"""The answers of one request as they come, and what they hold on to while somebody reads them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from typing import Any, NamedTuple

from server.domain.errors import DeadlineExceeded
from server.domain.inference import InferenceResponse, Parameter
from server.domain.payload import Answer, Decoded, Payload
from server.domain.ports import Engine
from server.residency.leases import Lease
from server.serving.stages import Decode, RequestTime, decoded, encoded


class Streamed(NamedTuple):
    """One encoded response, and the parameters that the model answered beside its outputs."""

    answer: Answer
    parameters: Mapping[str, Parameter]


class AnswerStream:
    """Iterate it once, inside of `Dispatcher.stream`. It holds the lease until `close`.

    The request's time is for the first response. From then on each further one has as much: a stream may take as long
    as it keeps coming. `infer_s` sums up how long the model was waited for, and grows with each response.
    """

    def __init__(self, name: str, lease: Lease, time: RequestTime) -> None:
        self.name = name
        self.warmth = lease.warmth
        self.load_s = lease.load_s
        self.waited_s = lease.waited_s
        self.cold_start = lease.cold_start
        self.infer_s = 0.0
        self.error: Exception | None = None
        """What ended it after its first response."""
        self.first: Streamed | None = None
        """The first response, kept for whoever has to write headers; None: the model ended without any."""
        self._lease = lease
        self._time = time
        self._decoded: Decoded | None = None
        self._responses: AsyncGenerator[InferenceResponse, None] | None = None

    @property
    def is_broken(self) -> bool:
        """Whether it ended with an error after its first response."""
        return self.error is not None

    async def begin(self, engine: Engine, decode: Decode, payload: Payload) -> None:
        """Send the request and wait for the first response; closes itself on an error.

        Raises:
            DeadlineExceeded, all that `decode` and `Engine.stream` raise.
        """
        try:
            self.first = await self._within(self._first(engine, decode, payload), self._time.left_s())
        except BaseException:
            await self.close()
            raise

    async def __aiter__(self) -> AsyncIterator[Streamed]:
        """Every response that says something, the first included. Raises DeadlineExceeded, as `Engine.stream`."""
        response = self.first
        while response is not None:
            yield response
            try:
                response = await self._within(self._next(), self._time.allowed_s)
            except Exception as error:
                self.error = error
                raise

    async def close(self) -> None:
        """Cancel what still runs in the engine, and give the lease back. Idempotent."""
        try:
            if self._responses is not None:
                await self._responses.aclose()
        finally:
            self._lease.release()

    async def _first(self, engine: Engine, decode: Decode, payload: Payload) -> Streamed | None:
        archive = self._lease.archive
        self._decoded = await decoded(decode, payload, archive)
        self._responses = engine.stream(archive.entry, self._decoded.request)
        return await self._next()

    async def _next(self) -> Streamed | None:
        assert self._responses is not None
        assert self._decoded is not None
        clock = self._time.clock
        while True:
            asked_at = clock.now()
            try:
                response = await anext(self._responses, None)
            finally:
                self.infer_s += clock.now() - asked_at
            if response is None:
                return None
            if response.outputs or response.parameters:  # else it only says that the model is at work
                answer = await encoded(self._decoded, response, self.name)
                return Streamed(answer, response.parameters)

    async def _within(self, work: Coroutine[Any, Any, Streamed | None], allowed_s: float) -> Streamed | None:
        limit = asyncio.timeout(allowed_s)
        try:
            async with limit:
                return await work
        except TimeoutError as error:
            if limit.expired():
                raise DeadlineExceeded(self._time.allowed_s) from error
            raise  # the engine's own
