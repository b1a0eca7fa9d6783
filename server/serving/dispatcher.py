"""The one road of a request: admit -> lease (which may load) -> decode -> infer -> encode.

Every surface calls `Dispatcher.invoke` or, for callers who read answers as they come, `Dispatcher.stream`; who may run,
for how long and on what is decided here and nowhere else.

Inference is idempotent: it changes nothing that outlives it. So when the engine's process dies under a request, the
request is sent once more through a fresh lease, which waits for the engine to be back. A second death is the caller's
to see (`EngineLost`): the request itself may be what kills the engine. So is a death after a stream's first answer:
the answers that went out cannot be taken back.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from server.codecs.kserve.kserve_passing import Passing
from server.domain.clock import Clock
from server.domain.cold_start import ColdStart
from server.domain.errors import DeadlineExceeded, EngineLost, RoundhouseError
from server.domain.inference import NO_PARAMETERS, Parameter
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Decoded, Payload
from server.domain.ports import Engine
from server.residency.leases import RESIDENT, Lease
from server.serving.admission import Admission
from server.serving.answer_stream import AnswerStream
from server.serving.only_answer import only_answer
from server.serving.passing_on import PassingOn
from server.serving.ports import Infer, InvocationLog, Leases
from server.serving.quick_runs import QuickRuns
from server.serving.stages import Decode, RequestTime, decoded, encoded
from server.serving.time_limit import TimeLimit


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


@dataclass(slots=True)
class Served:
    """An answer, and what it took. Seconds. Not frozen: that costs as much as all else that this file does at once."""

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


_Answered: TypeAlias = tuple[Answer, Mapping[str, Parameter], float]
"""The answer, what the model answered beside its outputs, and the engine's seconds."""


class Dispatcher:
    """Answers requests. Lives on one event loop."""

    def __init__(
        self,
        residency: Leases,
        engine: Engine,
        decode: Decode,
        clock: Clock,
        admission: Admission,
        log: InvocationLog,
        options: DispatchOptions,
        infer: Infer | None = None,
        quick: QuickRuns | None = None,
        passing: PassingOn | None = None,
    ) -> None:
        """`infer` takes the place of the engine's own (`batcher.py`).

        `quick` runs what needs no waiting, `passing` what needs no decoding; None where the engine has no such way.
        """
        self._residency = residency
        self._engine = engine
        self._infer = infer or (lambda archive, request: engine.infer(archive.entry, request))
        self._decode = decode
        self._clock = clock
        self._admission = admission
        self._log = log
        self._options = options
        self._quick = quick
        self._passing = passing

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

    def at_once(self, name: str, payload: Payload) -> Served | None:
        """Answer a request that has to wait for nothing; `None` for every other: await `invoke`, which says why.

        Raises:
            All that running it and encoding its answer raise.
        """
        quick = self._quick
        archive = None if quick is None else quick.archive_of(name, payload)
        if quick is None or archive is None or not self._admission.is_open:
            return None
        started = self._clock.now()
        try:
            asked = self._decode(payload, archive)
        except RoundhouseError:
            return None
        if not quick.lets_pass(archive, asked.request):
            quick.forget(name)
            return None
        lease = self._residency.try_lease(name)
        if lease is None:
            quick.forget(name)
            return None
        with lease:
            if lease.archive is not archive:
                quick.forget(name)
                return None
            return self._served_now(name, lease, asked, started, quick)

    def _served_now(self, name: str, lease: Lease, asked: Decoded, started: float, quick: QuickRuns) -> Served | None:
        now = self._clock.now
        sent = now()
        try:
            response = quick.run(lease.archive, asked.request)
            if response is None:
                return None
            infer_s = now() - sent
            answer = asked.encode(response, name)
        except EngineLost:
            return None  # `invoke` tries once more
        except Exception as error:
            self._log.failed(name, error, now() - started)
            raise
        total_s = now() - started
        self._log.served(name, is_hit=True, waited_s=0.0, infer_s=infer_s, total_s=total_s)
        return Served(answer, RESIDENT, 0.0, 0.0, infer_s, total_s, None, response.parameters)

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
            limit = TimeLimit(time.left_s())
            try:
                with limit:
                    passing = self._passing.of(payload, archive) if self._passing is not None else None
                    if passing is None:
                        answer, parameters, infer_s = await self._decoded(name, payload, archive)
                    else:
                        answer, parameters, infer_s = await self._passed(name, passing, archive)
            except TimeoutError as error:
                if limit.is_over:
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
            parameters=parameters,
        )

    async def _decoded(self, name: str, payload: Payload, archive: StagedArchive) -> _Answered:
        asked = await decoded(self._decode, payload, archive)
        sent = self._clock.now()
        if archive.signature.is_decoupled:
            response = await only_answer(self._engine, archive, asked)
        else:
            response = await self._infer(archive, asked.request)
            if self._quick is not None:
                self._quick.learn(name, archive, payload, asked.request)
        infer_s = self._clock.now() - sent
        return await encoded(asked, response, name), response.parameters, infer_s

    async def _passed(self, name: str, passing: Passing, archive: StagedArchive) -> _Answered:
        assert self._passing is not None
        sent = self._clock.now()
        answer = await self._passing.run(archive, passing)
        infer_s = self._clock.now() - sent
        return passing.encode(answer, name), answer.document.get("parameters", NO_PARAMETERS), infer_s
