"""The one road of a request: admit -> lease (which may load) -> decode -> infer -> encode.

Every surface calls `Dispatcher.invoke`; who may run, for how long and on what is decided here and nowhere else.

Inference is idempotent: it changes nothing that outlives it. So when the engine's process dies under a request, the
request is sent once more through a fresh lease, which waits for the engine to be back. A second death is the caller's
to see (`EngineLost`): the request itself may be what kills the engine.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from server.domain.clock import Clock
from server.domain.errors import DeadlineExceeded, EngineLost
from server.domain.inference import InferenceResponse
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Decoded, Payload
from server.domain.ports import Engine
from server.residency.leases import Lease
from server.residency.residency import Residency
from server.serving.admission import Admission

Decode: TypeAlias = Callable[[Payload, StagedArchive], Decoded]

OFFLOAD_BYTES: Final = 1 << 20
"""Bodies from here on are decoded in a thread: a megabyte of text takes milliseconds, in which no ping is answered."""


@dataclass(frozen=True, slots=True)
class DispatchOptions:
    """Limits of one request."""

    timeout_s: float = 60.0
    """From admission to the encoded answer, waiting for a load included. SageMaker gives a container 60 s."""
    load_wait_s: float = 45.0
    """The part of it that may be spent waiting for the archive to become resident."""
    lost_pause_s: float = 0.2
    """Pause before the second try after the engine died. A connection breaks before the process's end is noticed, and
    until residency hears of that it would lease steps that are gone."""


@dataclass(frozen=True, slots=True)
class Served:
    """An answer, and what it took. Seconds."""

    answer: Answer
    warmth: str
    load_s: float
    waited_s: float
    infer_s: float
    total_s: float


class InvocationLog(Protocol):
    """Who wants to know of every request (the metrics)."""

    def served(self, name: str, is_hit: bool, waited_s: float, infer_s: float, total_s: float) -> None:
        """Note a request that was answered."""
        ...

    def failed(self, name: str) -> None:
        """Note a request that met an error."""
        ...


class Dispatcher:
    """Answers requests. Lives on one event loop."""

    def __init__(
        self,
        residency: Residency,
        engine: Engine,
        decode: Decode,
        clock: Clock,
        admission: Admission,
        log: InvocationLog,
        options: DispatchOptions,
    ) -> None:
        self._residency = residency
        self._engine = engine
        self._decode = decode
        self._clock = clock
        self._admission = admission
        self._log = log
        self._options = options

    @property
    def in_flight(self) -> int:
        """Requests that are inside right now, waiting ones included."""
        return self._admission.running

    async def invoke(self, name: str, payload: Payload, timeout_s: float | None = None) -> Served:
        """Answer one request. Cancelling it (the client went away) gives everything back.

        Raises:
            Draining, Overloaded: it was not admitted.
            NotReady and all else that `Residency.lease` raises: the archive could not be made resident.
            DeadlineExceeded: the time ran out while decoding, inferring or encoding.
            InvalidRequest, UnsupportedMediaType, and all that `Engine.infer` raises.
        """
        run = _Run(self._clock, self._options.timeout_s if timeout_s is None else timeout_s)
        with self._admission.slot():
            try:
                served = await self._tried_twice(name, payload, run)
            except Exception:
                self._log.failed(name)
                raise
        self._log.served(name, served.warmth == "resident", served.waited_s, served.infer_s, served.total_s)
        return served

    async def _tried_twice(self, name: str, payload: Payload, run: "_Run") -> Served:
        lease = self._residency.try_lease(name)
        if lease is None:
            lease = await self._lease(name, run)
        try:
            return await self._serve(name, payload, lease, run)
        except EngineLost:
            await asyncio.sleep(self._options.lost_pause_s)
            return await self._serve(name, payload, await self._lease(name, run), run)

    async def _lease(self, name: str, run: "_Run") -> Lease:
        return await self._residency.lease(name, min(self._options.load_wait_s, run.left_s()))

    async def _serve(self, name: str, payload: Payload, lease: Lease, run: "_Run") -> Served:
        with lease:
            limit = asyncio.timeout(run.left_s())
            try:
                async with limit:
                    decoded = await _decoded(self._decode, payload, lease.archive)
                    sent = self._clock.now()
                    response = await self._engine.infer(lease.archive.entry, decoded.request)
                    infer_s = self._clock.now() - sent
                    answer = await _encoded(decoded, response, name)
            except TimeoutError as error:
                if limit.expired():
                    raise DeadlineExceeded(run.allowed_s) from error
                raise  # the engine's own
        return Served(answer, lease.warmth, lease.load_s, lease.waited_s, infer_s, run.taken_s())


class _Run:
    """The time of one request."""

    __slots__ = ("_clock", "_started", "allowed_s")

    def __init__(self, clock: Clock, allowed_s: float) -> None:
        self._clock = clock
        self._started = clock.now()
        self.allowed_s = allowed_s

    def taken_s(self) -> float:
        return self._clock.now() - self._started

    def left_s(self) -> float:
        return self.allowed_s - self.taken_s()


async def _decoded(decode: Decode, payload: Payload, archive: StagedArchive) -> Decoded:
    if len(payload.body) < OFFLOAD_BYTES:
        return decode(payload, archive)
    return await asyncio.to_thread(decode, payload, archive)


async def _encoded(decoded: Decoded, response: InferenceResponse, model_name: str) -> Answer:
    if sum(tensor.data.nbytes for tensor in response.outputs) < OFFLOAD_BYTES:
        return decoded.encode(response, model_name)
    return await asyncio.to_thread(decoded.encode, response, model_name)
