"""The middle of a job's life: fetch the payload, walk the one road, and say what came of it."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from server.domain.errors import (
    DeadlineExceeded,
    Draining,
    NotReady,
    Overloaded,
    RoundhouseError,
    StoreUnavailable,
)
from server.domain.inference import Parameter
from server.domain.payload import Body, Payload
from server.jobs.async_inference import Job
from server.jobs.journal import Journal
from server.jobs.locations import S3Location
from server.jobs.outcome import Outcome, Status
from server.jobs.ports import Fetched, Invoke, ObjectStore
from server.store.threads import StoreThreads

_log = logging.getLogger(__name__)

JSON: Final = "application/json"
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
_PASSING: Final = (NotReady, Overloaded, StoreUnavailable)
"""Failures that waiting may cure."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a job came to: its outcome, and the object to write for it."""

    outcome: Outcome
    body: Body


class Processing:
    """Turns jobs into findings."""

    def __init__(
        self,
        invoke: Invoke,
        objects: ObjectStore,
        journal: Journal,
        threads: StoreThreads,
        wall: Callable[[], float] = lambda: 0.0,
        patience_s: float = 0.0,
    ) -> None:
        """`patience_s`: a job that is younger, by the clock `wall`, waits rather than have others evicted."""
        self._wall = wall
        self._patience_s = patience_s
        self._invoke = invoke
        self._objects = objects
        self._journal = journal
        self._threads = threads

    async def find(self, job: Job) -> Finding:
        """Run a job within its InvocationTimeoutSeconds; what may pass is tried again as long as they last.

        Raises:
            Draining: the server goes down; the job was not run.
        """
        limit = asyncio.timeout(job.timeout_s)
        tries = _Tries()
        try:
            async with limit:
                return await self._tried_again(job, tries)
        except Draining:
            raise
        except RoundhouseError as error:
            return failure(job, Status.FAILED, f"{type(error).__name__}: {error}")
        except Exception as error:
            if limit.expired():
                late = f"{DeadlineExceeded(job.timeout_s)} (InvocationTimeoutSeconds)"
                return failure(job, Status.FAILED, f"DeadlineExceeded: {late}{tries.told()}")
            _log.error("a job met a bug", exc_info=error, extra={"archive": job.archive})
            reason = f"Bug: internal error; the server's log has the details under {job.inference_id}"
            return failure(job, Status.FAILED, reason)

    async def _tried_again(self, job: Job, tries: "_Tries") -> Finding:
        for pause_s in pauses():
            try:
                return await self._tried(job)
            except _PASSING as error:
                tries.failed(error)
            await asyncio.sleep(pause_s)
        raise AssertionError("pauses have no end. This is a bug.")

    async def _tried(self, job: Job) -> Finding:
        payload = await self._payload(job)
        patience_s = min(self._patience_s, job.accepted_at + self._patience_s - self._wall())
        served = await self._invoke(job.archive, payload, job.timeout_s, max(0.0, patience_s))
        answer = served.answer
        return Finding(Outcome(Status.COMPLETED, answer.content_type), answer.body)

    async def _payload(self, job: Job) -> Payload:
        """The caller's word on the type goes before the object's own, which whoever uploaded it has set."""
        if job.input:
            fetched = await self._objects.get(S3Location.read(job.input))
        else:
            fetched = Fetched(await self._threads.transfer(self._journal.body, job), "")
        content_type = job.content_type or fetched.content_type
        return Payload(fetched.body, content_type, job.accept, parameters=_for_model(job))


def _for_model(job: Job) -> Mapping[str, Parameter]:
    """What the model is told beside the payload, as on SageMaker's other surfaces: only what the caller said."""
    parameters: dict[str, Parameter] = {}
    if job.custom_attributes:
        parameters["custom_attributes"] = job.custom_attributes
    if job.inference_id != job.id:
        parameters["inference_id"] = job.inference_id
    return parameters


class _Tries:
    """What went wrong so far, for the reason of a job that runs out of time."""

    def __init__(self) -> None:
        self._count = 0
        self._last = ""

    def failed(self, error: RoundhouseError) -> None:
        self._count += 1
        self._last = str(error)
        _log.info("a job is tried again: %s", error)

    def told(self) -> str:
        return f"; it was tried {self._count} times, and the last time {self._last}" if self._count else ""


def failure(job: Job, status: Status, reason: str) -> Finding:
    """Write down why a job has no result."""
    fields = {
        "error": reason,
        "invocationStatus": status.value,
        "inferenceId": job.inference_id,
        "archive": job.archive,
        "inputLocation": job.input,
    }
    body = json.dumps({name: value for name, value in fields.items() if value}).encode()
    return Finding(Outcome(status, JSON, reason), (body,))


def pauses() -> Iterator[float]:
    """Seconds between tries, without end."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
