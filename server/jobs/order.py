"""Which job is next: those whose archive is in memory first, archive by archive, until one has waited too long. Pure.

A load costs seconds, and a job has time. So jobs may be passed by others that need no load, until the oldest is as old
as the bound. From then on strict order holds: it is next whatever it costs.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from server.jobs.async_inference import Job

SAME, IN_MEMORY, ABSENT, BEING_LOADED = range(4)
"""What is known about a job's archive; jobs of lower rank go first."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What matters for the choice. `now` is seconds since the epoch."""

    now: float
    is_resident: Callable[[str], bool]
    under_way: Collection[str]
    """Archives of jobs that have begun and not ended."""
    last: str
    """The archive of the job that began last."""


def next_job(waiting: Iterable[Job], situation: Situation, age_bound_s: float) -> int:
    """The position of the job to begin. `waiting` is not empty, in the order of acceptance.

    In this order: the oldest, if it is older than the bound; one of the archive that was begun last, if that is in
    memory; the oldest whose archive is; the oldest whose archive no other job loads; the oldest.
    """
    best_rank, best = BEING_LOADED + 1, 0
    for position, job in enumerate(waiting):
        if position == 0 and situation.now - job.accepted_at >= age_bound_s:
            return 0
        rank = _rank(job.archive, situation)
        if rank < best_rank:
            best_rank, best = rank, position
        if rank == SAME:
            break
    return best


def _rank(archive: str, situation: Situation) -> int:
    if situation.is_resident(archive):
        return SAME if archive == situation.last else IN_MEMORY
    return BEING_LOADED if archive in situation.under_way else ABSENT
