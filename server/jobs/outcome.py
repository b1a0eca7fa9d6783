"""How jobs ended: counted for ever, the last ones kept for people. Pure."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from server.jobs.async_inference import Job

KEPT: Final = 100
"""Outcomes that are shown to people."""


class Status(StrEnum):
    """SageMaker's words for how an invocation ended."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    EXPIRED = "Expired"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. `content_type` is the written object's; `reason` is "" for a completed one."""

    status: Status
    content_type: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is over. Seconds since the epoch."""

    job: Job
    outcome: Outcome
    ended_at: float

    @property
    def written(self) -> str:
        """Where its caller finds the result, or the reason."""
        return str(self.job.output if self.outcome.status is Status.COMPLETED else self.job.failure)


class Outcomes:
    """Every outcome counted, the last `KEPT` kept."""

    def __init__(self) -> None:
        self._counts: Counter[Status] = Counter()
        self._last: deque[Ended] = deque(maxlen=KEPT)

    def note(self, ended: Ended) -> None:
        """Count one more."""
        self._counts[ended.outcome.status] += 1
        self._last.append(ended)

    def count(self, status: Status) -> int:
        """Say how many ended so since the start."""
        return self._counts[status]

    def newest_first(self) -> Iterable[Ended]:
        """Return the kept ones."""
        return reversed(self._last)
