"""Accepted jobs in the order in which they came: waiting and running, at most so many. No I/O, no clock, no await."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from server.domain.errors import InvalidHeader, Overloaded
from server.jobs.async_inference import Job
from server.jobs.locations import S3Location

RETRY_AFTER_S = 5.0


class JobQueue:
    """First in, first out. A job is in it from its acceptance to its end, so that two never write the same object."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._accepting: set[str] = set()
        self._waiting: deque[Job] = deque()
        self._running: dict[str, Job] = {}
        self._by_location: dict[S3Location, Job] = {}

    @property
    def limit(self) -> int:
        """The most jobs that may wait."""
        return self._limit

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Jobs that have begun and not ended."""
        return len(self._running)

    def known(self, job: Job) -> Job | None:
        """Return the job that this one repeats, if it has not ended: its client may not have heard the answer.

        Raises:
            InvalidHeader: another job will write to the same place.
            Overloaded: it is new, and there is no room.
        """
        for location in (job.output, job.failure):
            other = self._by_location.get(location)
            if other is not None and other.is_same_call(job):
                return other
            if other is not None:
                raise InvalidHeader(
                    f"{location} will be written by another job that has not ended (InferenceId "
                    f"{other.inference_id!r}); use another InferenceId, Filename or S3OutputPathExtension"
                )
        if len(self._waiting) + len(self._accepting) >= self._limit:
            raise Overloaded(self._limit, RETRY_AFTER_S, what="jobs would wait")
        return None

    def reserve(self, job: Job) -> None:
        """Keep room for a job, and its places from others, while it is written down."""
        self._accepting.add(job.id)
        self._by_location[job.output] = job
        self._by_location[job.failure] = job

    def release(self, job: Job) -> None:
        """Give a job's places free: it ended, or could not be written down."""
        self._accepting.discard(job.id)
        self._running.pop(job.id, None)
        for location in (job.output, job.failure):
            if self._by_location.get(location) is job:
                del self._by_location[location]

    def put(self, job: Job) -> None:
        """Let a job wait. Jobs of an earlier server may be more than the limit: they were accepted."""
        self.reserve(job)
        self._accepting.discard(job.id)
        self._waiting.append(job)

    def take(self) -> Job | None:
        """Begin the job that waits longest; `None` where none does."""
        if not self._waiting:
            return None
        job = self._waiting.popleft()
        self._running[job.id] = job
        return job

    def show_waiting(self, most: int) -> Iterator[Job]:
        """The jobs that come next."""
        return islice(self._waiting, most)

    def show_running(self) -> Iterator[Job]:
        """The jobs that have begun."""
        return iter(self._running.values())
