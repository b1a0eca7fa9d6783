"""Accepted jobs, waiting and running, at most so many. No I/O, no clock, no await."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from server.domain.errors import InvalidHeader, Overloaded
from server.jobs.async_inference import Job
from server.jobs.locations import S3Location
from server.jobs.order import Situation, next_job

RETRY_AFTER_S = 5.0


class JobQueue:
    """A job is in it from its acceptance to its end, so that two never write the same object.

    First in, first out, but for jobs that may pass others since their archive is in memory (`order.py`), until those
    are `age_bound_s` old; 0: they may not.
    """

    def __init__(
        self, limit: int, age_bound_s: float = 0.0, is_resident: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._limit = limit
        self._age_bound_s = age_bound_s
        self._is_resident = is_resident
        self._last = ""
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

    def take(self, now: float = 0.0) -> Job | None:
        """Begin the job that is next at `now` (seconds since the epoch); `None` where none waits."""
        if not self._waiting:
            return None
        under_way = {each.archive for each in self._running.values()}
        situation = Situation(now, self._is_resident, under_way, self._last)
        position = next_job(self._waiting, situation, self._age_bound_s)
        job = self._waiting[position]
        del self._waiting[position]
        self._running[job.id] = job
        self._last = job.archive
        return job

    def show_waiting(self, most: int) -> Iterator[Job]:
        """The jobs that wait longest."""
        return islice(self._waiting, most)

    def show_running(self) -> Iterator[Job]:
        """The jobs that have begun."""
        return iter(self._running.values())
