"""The life of one job: expire or process, write, tell, forget.

A job is run at least once. What makes that safe:
- its result and its failure are objects with names that were fixed at its acceptance, so a second run replaces and
  never adds; a job that was under way when a server died first looks whether its object is there already;
- a job during which the server died `MAX_STARTS` times is given up, since it may be what kills it;
- what was found is offered to S3 until it takes it, at least until the job's time to live is over.
"""

import asyncio
import logging
from typing import Final

from server.domain.clock import Clock
from server.domain.errors import Draining, StoreUnavailable
from server.jobs.async_inference import Job
from server.jobs.journal import Journal
from server.jobs.outcome import Ended, Outcome, Status
from server.jobs.ports import Notifier, ObjectStore
from server.jobs.processing import Finding, Processing, failure, pauses
from server.store.threads import StoreThreads
from server.telemetry.logging import request_id

_log = logging.getLogger(__name__)

MAX_STARTS: Final = 3
MIN_OFFERS: Final = 3
"""How often S3 is offered an object before the job's time to live counts."""


class Worker:
    """Carries out jobs. Lives on one event loop; several jobs may be under way."""

    def __init__(
        self,
        processing: Processing,
        objects: ObjectStore,
        notifier: Notifier,
        journal: Journal,
        threads: StoreThreads,
        clock: Clock,
    ) -> None:
        self._processing = processing
        self._objects = objects
        self._notifier = notifier
        self._journal = journal
        self._threads = threads
        self._clock = clock

    async def run(self, job: Job, starts: int) -> Ended | None:
        """Carry out a job; `None` where the server goes down and leaves it to the next one.

        `starts` is how often it was under way when a server died. Cancelling leaves it to the next server, too.
        """
        request_id.set(job.inference_id)
        outcome = await self._written_before(job) if starts else None
        if outcome is None:
            finding = await self._found(job, starts)
            if finding is None:
                return None
            outcome = await self._written(job, finding, starts)
        ended = Ended(job, outcome, self._clock.wall())
        await self._tell(ended)
        await self._threads.transfer(self._journal.end, job)
        return ended

    def close(self) -> None:
        """Close what leads outside."""
        self._objects.close()
        self._notifier.close()

    async def _written_before(self, job: Job) -> Outcome | None:
        """Find out whether an earlier run of the job came as far as writing its object."""
        for location, status in ((job.output, Status.COMPLETED), (job.failure, Status.FAILED)):
            try:
                written = await self._objects.written(location)
            except StoreUnavailable as error:
                _log.warning("whether %s is there already is not known: %s", location, error)
                continue
            if written is not None and written.job_id == job.id:
                reason = "" if status is Status.COMPLETED else "the reason was written by an earlier run"
                return Outcome(status, written.content_type, reason)
        return None

    async def _found(self, job: Job, starts: int) -> Finding | None:
        if job.is_expired(self._clock.wall()):
            reason = f"Expired: it waited longer than {job.ttl_s} s (RequestTTLSeconds) and was not run"
            return failure(job, Status.EXPIRED, reason)
        if starts >= MAX_STARTS:
            reason = f"GivenUp: the server died {starts} times while this job was under way"
            return failure(job, Status.FAILED, reason)
        await self._threads.transfer(self._journal.mark, job, starts + 1)
        try:
            return await self._processing.find(job)
        except Draining:
            self._journal.mark(job, starts)
            return None
        except asyncio.CancelledError:
            self._journal.mark(job, starts)
            raise

    async def _written(self, job: Job, finding: Finding, starts: int) -> Outcome:
        """Offer S3 what was found until it takes it."""
        outcome = finding.outcome
        location = job.output if outcome.status is Status.COMPLETED else job.failure
        try:
            for offers, pause_s in enumerate(pauses(), 1):
                try:
                    await self._objects.put(location, finding.body, outcome.content_type, job.id)
                except StoreUnavailable as error:
                    if offers >= MIN_OFFERS and job.is_expired(self._clock.wall()):
                        _log.error("a job's time to live is over and its answer is lost: %s", error)
                        return Outcome(Status.FAILED, outcome.content_type, f"{type(error).__name__}: {error}")
                    _log.warning("offered again in %g s: %s", pause_s, error)
                    await asyncio.sleep(pause_s)
                else:
                    return outcome
        except asyncio.CancelledError:
            self._journal.mark(job, max(starts, 1))  # not 0: the next server has to look whether S3 took it after all
            raise
        raise AssertionError("pauses have no end. This is a bug.")

    async def _tell(self, ended: Ended) -> None:
        """A result without a message is still a result, so nothing is tried again beyond what boto3 does."""
        outcome = ended.outcome
        level = logging.DEBUG if outcome.status is Status.COMPLETED else logging.INFO
        _log.log(level, "job %s: %s", outcome.status.value.lower(), outcome.reason or ended.written)
        try:
            await self._notifier.tell(ended)
        except StoreUnavailable as error:
            _log.warning("nobody was told: %s", error)
