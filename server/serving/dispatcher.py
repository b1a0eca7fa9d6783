"""The one road of a request: admit -> lease (which may load) -> decode -> infer -> encode.

Every surface calls `Dispatcher.invoke` or, for callers who read answers as they come, `Dispatcher.stream`; who may run,
for how long and on what is decided here and nowhere else.

Inference is idempotent: it changes nothing that outlives it. So when the engine's process dies under a request, the
request is sent once more through a fresh lease, which waits for the engine to be back. A second death is the caller's
to see (`EngineLost`): the request itself may be what kills the engine. So is a death after a stream's first answer:
the answers that went out cannot be taken back.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from server.domain.clock import Clock
from server.domain.cold_start import ColdStart
from server.domain.errors import DeadlineExceeded, EngineLost
from server.domain.inference import InferenceRequest, InferenceResponse, Parameter
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Payload
from server.domain.ports import Engine
from server.residency.leases import Lease
from server.residency.residency import Residency
from server.serving.admission import Admission
from server.serving.answer_stream import AnswerStream
from server.serving.only_answer import only_answer
from server.serving.stages import Decode, RequestTime, decoded, encoded


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
    cold_start: ColdStart | None
    """What was waited for, phase by phase; None where nothing was."""
    parameters: Mapping[str, Parameter]
    """What the model answered beside its outputs, for surfaces that have a place for it."""


Infer: TypeAlias = Callable[[StagedArchive, InferenceRequest], Awaitable[InferenceResponse]]
"""Runs a request through an archive's entry model. Raises as `Engine.infer`."""


class InvocationLog(Protocol):
    """Who wants to know of every request (the metrics)."""

    def served(self, name: str, is_hit: bool, waited_s: float, infer_s: float, total_s: float) -> None:
        """Note a request that was answered."""
        ...

    def failed(self, name: str, error: Exception, total_s: float) -> None:
        """Note a request that met an error, or was not admitted."""
        ...

    def left(self, name: str, total_s: float) -> None:
        """Note a request whose caller did not wait for the answer."""
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
        infer: Infer | None = None,
    ) -> None:
        """`infer` takes the place of the engine's own (`batcher.py`)."""
        self._residency = residency
        self._engine = engine
        self._infer = infer or (lambda archive, request: engine.infer(archive.entry, request))
        self._decode = decode
        self._clock = clock
        self._admission = admission
        self._log = log
        self._options = options

    @property
    def in_flight(self) -> int:
        """Requests that are inside right now, waiting ones included."""
        return self._admission.running

    async def invoke(
        self, name: str, payload: Payload, timeout_s: float | None = None, patience_s: float = 0.0
    ) -> Served:
        """Answer one request. Cancelling it (the client went away) gives everything back.

        With `patience_s` it waits so long for its archive rather than have others evicted that are in use.

        Of a decoupled model the last response with outputs is the answer (`only_answer.py`).

        Raises:
            Draining, Overloaded: it was not admitted.
            NotReady and all else that `Residency.lease` raises: the archive could not be made resident.
            DeadlineExceeded: the time ran out while decoding, inferring or encoding.
            InvalidRequest, UnsupportedMediaType, and all that `Engine.infer` raises.
        """
        time = RequestTime(self._clock, self._options.timeout_s if timeout_s is None else timeout_s, patience_s)
        try:
            with self._admission.slot():
                served = await self._tried_twice(name, payload, time)
        except Exception as error:
            self._log.failed(name, error, time.taken_s())
            raise
        except asyncio.CancelledError:
            self._log.left(name, time.taken_s())
            raise
        self._log.served(name, served.warmth == "resident", served.waited_s, served.infer_s, served.total_s)
        return served

    @asynccontextmanager
    async def stream(
        self, name: str, payload: Payload, timeout_s: float | None = None
    ) -> AsyncGenerator[AnswerStream, None]:
        """Answer one request as its model does, response by response: `async with dispatcher.stream(...) as answers`.

        Entering waits for the first response, so that what goes wrong until then can be told as for `invoke`. The slot
        and the lease are held until the block is left, which cancels what still runs.

        Raises:
            As `invoke`, on entering; in the block, what ended the iteration.
        """
        time = RequestTime(self._clock, self._options.timeout_s if timeout_s is None else timeout_s)
        try:
            with self._admission.slot():
                answers = await self._begun_twice(name, payload, time)
                try:
                    yield answers
                finally:
                    await answers.close()
        except Exception as error:
            self._log.failed(name, error, time.taken_s())
            raise
        except asyncio.CancelledError:
            self._log.left(name, time.taken_s())
            raise
        if answers.error is not None:  # whoever read it has told its caller
            self._log.failed(name, answers.error, time.taken_s())
        else:
            is_hit = answers.warmth == "resident"
            self._log.served(name, is_hit, answers.waited_s, answers.infer_s, time.taken_s())

    async def _begun_twice(self, name: str, payload: Payload, time: RequestTime) -> AnswerStream:
        lease = self._residency.try_lease(name)
        if lease is None:
            lease = await self._lease(name, time)
        answers = AnswerStream(name, lease, time)
        try:
            await answers.begin(self._engine, self._decode, payload)
        except EngineLost:
            await asyncio.sleep(self._options.lost_pause_s)
            answers = AnswerStream(name, await self._lease(name, time), time)
            await answers.begin(self._engine, self._decode, payload)
        return answers

    async def _tried_twice(self, name: str, payload: Payload, time: RequestTime) -> Served:
        lease = None if time.patience_s else self._residency.try_lease(name)
        if lease is None:
            lease = await self._lease(name, time)
        try:
            return await self._serve(name, payload, lease, time)
        except EngineLost:
            await asyncio.sleep(self._options.lost_pause_s)
            return await self._serve(name, payload, await self._lease(name, time), time)

    async def _lease(self, name: str, time: RequestTime) -> Lease:
        patience_s = time.patience_s
        return await self._residency.lease(name, min(self._options.load_wait_s + patience_s, time.left_s()), patience_s)

    async def _serve(self, name: str, payload: Payload, lease: Lease, time: RequestTime) -> Served:
        archive = lease.archive
        with lease:
            limit = asyncio.timeout(time.left_s())
            try:
                async with limit:
                    asked = await decoded(self._decode, payload, archive)
                    sent = self._clock.now()
                    if archive.entry_step.signature.is_decoupled:
                        response = await only_answer(self._engine, archive, asked)
                    else:
                        response = await self._infer(archive, asked.request)
                    infer_s = self._clock.now() - sent
                    answer = await encoded(asked, response, name)
            except TimeoutError as error:
                if limit.expired():
                    raise DeadlineExceeded(time.allowed_s) from error
                raise  # the engine's own
        return Served(
            answer=answer,
            warmth=lease.warmth,
            load_s=lease.load_s,
            waited_s=lease.waited_s,
            infer_s=infer_s,
            total_s=time.taken_s(),
            cold_start=lease.cold_start,
            parameters=response.parameters,
        )
