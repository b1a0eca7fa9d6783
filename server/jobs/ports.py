"""The outside worlds that workers ask for, as they need them; the assembly hands S3 and SNS in."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from server.domain.payload import Answer, Body, Payload
from server.jobs.locations import S3Location
from server.jobs.outcome import Ended


class Answered(Protocol):
    """The part of `serving.dispatcher.Served` that counts here."""

    @property
    def answer(self) -> Answer:
        """The encoded answer."""
        ...


class Invoke(Protocol):
    """`Dispatcher.invoke`."""

    def __call__(
        self, name: str, payload: Payload, timeout_s: float | None = None, patience_s: float = 0.0
    ) -> Awaitable[Answered]:
        """Answer one request, which can wait `patience_s` rather than disturb others."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A payload. `content_type` is "" where its writer gave it none."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Written:
    """An object that is there. `job_id` is "" where nobody said who wrote it."""

    job_id: str
    content_type: str


class ObjectStore(Protocol):
    """What workers ask for."""

    async def get(self, location: S3Location) -> Fetched:
        """Fetch a payload. Raises InvalidRequest (missing, refused, too large), StoreUnavailable."""
        ...

    async def put(self, location: S3Location, body: Body, content_type: str, job_id: str) -> None:
        """Write an object as a whole, replacing what is there. Raises StoreUnavailable."""
        ...

    async def written(self, location: S3Location) -> Written | None:
        """Say who wrote what is there; `None` where nothing is there. Raises StoreUnavailable."""
        ...

    def close(self) -> None:
        """Close connections; calls that wait for a silent S3 end with their time-outs."""
        ...


class Notifier(Protocol):
    """Who tells how jobs ended."""

    async def tell(self, ended: Ended) -> None:
        """Publish the message for a job, where a topic is set. Raises StoreUnavailable."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
