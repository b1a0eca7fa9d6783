"""Asynchronous inference as a whole: takes calls, carries them out a few at a time, goes on after restarts."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from server.domain.clock import Clock
from server.domain.errors import Draining, NotReady
from server.jobs.async_inference import Call, Job, Places, job_of
from server.jobs.journal import Journal
from server.jobs.outcome import Ended, Outcomes, Status
from server.jobs.queue import JobQueue
from server.jobs.worker import Worker
from server.store.threads import StoreThreads
from server.telemetry.metrics import Level

_log = logging.getLogger(__name__)

SHOWN: Final = 100
"""Waiting jobs that are shown to people."""


@dataclass(frozen=True, slots=True)
class JobOptions:
    """Where results go, and how many jobs may be at once."""

    places: Places
    concurrency: int = 4
    queue_limit: int = 1000
    reorder_s: float = 0.0
    """How old a job may become while others pass it whose archive is in memory."""


class AsyncJobs:
    """Lives on one event loop: `begin`, then `submit` any number, then `drain`, then `end`."""

    def __init__(
        self,
        worker: Worker,
        journal: Journal,
        threads: StoreThreads,
        clock: Clock,
        options: JobOptions,
        new_id: Callable[[], str] = lambda: str(uuid4()),
        is_resident: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._worker = worker
        self._journal = journal
        self._threads = threads
        self._clock = clock
        self._options = options
        self._new_id = new_id
        self._queue = JobQueue(options.queue_limit, options.reorder_s, is_resident)
        self._starts: dict[str, int] = {}
        self._accepting: dict[str, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._outcomes = Outcomes()
        self._has_begun = False
        self._is_draining = False

    async def begin(self) -> None:
        """Take up what earlier servers left, and begin to work. Raises StoreUnavailable."""
        for recovered in await self._threads.transfer(self._journal.recover):
            self._starts[recovered.job.id] = recovered.starts
            self._queue.put(recovered.job)
        if self._queue.waiting:
            _log.info("%d jobs of an earlier run go on", self._queue.waiting)
        self._has_begun = True
        self._work()

    async def submit(self, call: Call) -> Job:
        """Accept a call. When this returns the job is on disk, and will be carried out even if the server dies.

        A call that repeats one whose job has not ended is answered with that job.

        Raises:
            InvalidHeader: a member of the call is wrong.
            Overloaded: too many jobs wait.
            Draining, NotReady: the server goes down, or is not up yet.
            StoreUnavailable: it cannot be written down.
        """
        if self._is_draining:
            raise Draining
        if not self._has_begun:
            raise NotReady(call.archive, 1.0)
        job = job_of(call, self._options.places, self._new_id(), self._clock.wall())
        known = self._queue.known(job)
        if known is None:
            self._queue.reserve(job)
            self._accepting[job.id] = asyncio.create_task(self._accept(job, call.body))
            known = job
        if (accepting := self._accepting.get(known.id)) is not None:
            await asyncio.shield(accepting)  # a caller who leaves meanwhile changes nothing
        return known

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, let finish what runs; what did not finish or begin is on disk for the next start."""
        self._is_draining = True
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, *self._accepting.values(), return_exceptions=True)
        if self._queue.waiting:
            _log.info("%d jobs wait for the next start", self._queue.waiting)

    async def end(self) -> None:
        """Close everything."""
        await self._threads.close()
        self._worker.close()

    def snapshot(self) -> dict[str, Any]:
        """Tell people what waits, what runs and how the last ones ended. JSON-ready, bounded."""
        return {
            "output": str(self._options.places.output),
            "failures": str(self._options.places.failures),
            "concurrency": self._options.concurrency,
            "queue_limit": self._queue.limit,
            "waiting": self._queue.waiting,
            "running": self._queue.running,
            "ended": {status.value: self._outcomes.count(status) for status in Status},
            "next": [self._described(job) for job in self._queue.show_waiting(SHOWN)],
            "under_way": [self._described(job) for job in self._queue.show_running()],
            "last": [self._described_end(ended) for ended in self._outcomes.newest_first()],
        }

    def levels(self) -> Iterator[Level]:
        """The same as metrics; what `Metrics.watch` takes."""
        yield Level("roundhouse_jobs_queued", "Jobs that wait", self._queue.waiting)
        yield Level("roundhouse_jobs_running", "Jobs under way", self._queue.running)
        for name, status in (("succeeded", Status.COMPLETED), ("failed", Status.FAILED), ("expired", Status.EXPIRED)):
            count = self._outcomes.count(status)
            yield Level(f"roundhouse_jobs_{name}", f"Jobs that ended as {status.value}, since the start", count)

    async def _accept(self, job: Job, body: bytes) -> None:
        try:
            await self._threads.transfer(self._journal.accept, job, body)
        except BaseException:
            self._queue.release(job)
            raise
        finally:
            del self._accepting[job.id]
        self._queue.put(job)
        self._work()

    def _work(self) -> None:
        """Begin as many jobs as may be under way."""
        while not self._is_draining and len(self._running) < self._options.concurrency:
            job = self._queue.take(self._clock.wall())
            if job is None:
                return
            task = asyncio.create_task(self._carry_out(job))
            self._running.add(task)
            task.add_done_callback(self._finished)

    async def _carry_out(self, job: Job) -> None:
        try:
            ended = await self._worker.run(job, self._starts.pop(job.id, 0))
            if ended is not None:
                self._outcomes.note(ended)
        except Exception:  # the journal keeps the job for the next start
            _log.exception("job %s was left", job.inference_id)
        finally:
            self._queue.release(job)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._work()

    def _described(self, job: Job) -> dict[str, Any]:
        return {
            "inference_id": job.inference_id,
            "archive": job.archive,
            "endpoint": job.endpoint,
            "input": job.input or "in the call",
            "accepted": _time(job.accepted_at),
            "age_s": round(max(0.0, self._clock.wall() - job.accepted_at), 3),
        }

    def _described_end(self, ended: Ended) -> dict[str, Any]:
        return {
            **self._described(ended.job),
            "status": ended.outcome.status.value,
            "reason": ended.outcome.reason,
            "written": ended.written,
            "ended": _time(ended.ended_at),
        }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
