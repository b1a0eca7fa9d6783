"""S3, SNS and the one road as a test wants them, for everything in server/jobs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.domain.errors import StoreUnavailable
from server.domain.payload import Answer, Body, Payload
from server.jobs.async_inference import Call, Job, Places, job_of
from server.jobs.async_jobs import AsyncJobs, JobOptions
from server.jobs.journal import Journal
from server.jobs.journal_files import JournalFiles
from server.jobs.locations import S3Folder, S3Location
from server.jobs.outcome import Ended
from server.jobs.ports import Fetched, Written
from server.jobs.processing import Processing
from server.jobs.worker import Worker

PLACES = Places(S3Folder("out", "results"), S3Folder("out", "failures"))
INPUT = S3Location("in", "x.json")


def job(inference_id: str = "i", accepted_at: float = 1_800_000_000.0, body: bytes = b"", **members: str) -> Job:
    """A job whose id is its InferenceId; its payload is `INPUT` where no body is given."""
    told = {"InferenceId": inference_id, **({} if body else {"InputLocation": str(INPUT)}), **members}
    return job_of(Call("endpoint", "a", told, body), PLACES, inference_id, accepted_at)


class FakeObjects:
    """Implements ObjectStore in a dictionary. `faults` are raised first, one by one, by every call."""

    def __init__(self) -> None:
        self.inputs: dict[S3Location, Fetched] = {INPUT: Fetched(b"payload", "text/plain")}
        self.objects: dict[S3Location, tuple[bytes, str, str]] = {}
        self.faults: list[Exception] = []
        self.is_closed = False

    async def get(self, location: S3Location) -> Fetched:
        self._step()
        return self.inputs[location]

    async def put(self, location: S3Location, body: Body, content_type: str, job_id: str) -> None:
        self._step()
        self.objects[location] = (b"".join(body), content_type, job_id)

    async def written(self, location: S3Location) -> Written | None:
        self._step()
        found = self.objects.get(location)
        return found and Written(found[2], found[1])

    def close(self) -> None:
        self.is_closed = True

    def _step(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


class FakeNotifier:
    """Implements Notifier; keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Ended] = []
        self.is_away = False
        self.is_closed = False

    async def tell(self, ended: Ended) -> None:
        if self.is_away:
            raise StoreUnavailable("SNS is away")
        self.told.append(ended)

    def close(self) -> None:
        self.is_closed = True


@dataclass(frozen=True)
class Served:
    """What the road answers, as far as jobs look."""

    answer: Answer


class Road:
    """Implements Invoke: upper case, after `infer_s`, with `faults` first. `open` lets requests through."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Payload, float | None]] = []
        self.patience_s: list[float] = []
        self.faults: list[Exception] = []
        self.infer_s = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self.inside = 0

    async def __call__(
        self, name: str, payload: Payload, timeout_s: float | None = None, patience_s: float = 0.0
    ) -> Served:
        self.asked.append((name, payload, timeout_s))
        self.patience_s.append(patience_s)
        self.inside += 1
        try:
            await self.open.wait()
            await asyncio.sleep(self.infer_s)
        finally:
            self.inside -= 1
        if self.faults:
            raise self.faults.pop(0)
        text = bytes(payload.body).upper()
        return Served(Answer((text[:3], memoryview(text[3:])), "text/upper"))


class InlineThreads:
    """Stands for StoreThreads without a thread, so that time may jump."""

    async def check(self, work: Any, *args: Any) -> Any:
        await asyncio.sleep(0)
        return work(*args)

    transfer = check

    async def close(self) -> None:
        pass


class JobsUnderTest:
    """Everything of server/jobs over these fakes and a journal in `folder`; one server's life."""

    def __init__(
        self,
        folder: Any,
        clock: Any,
        *,
        concurrency: int = 2,
        limit: int = 10,
        road: Any = None,
        objects: Any = None,
        notifier: Any = None,
        files: Any = None,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self.road = road or Road()
        self.objects = objects or FakeObjects()
        self.notifier = notifier or FakeNotifier()
        self.threads: Any = InlineThreads()
        self.journal = Journal(files or JournalFiles(folder))
        self.worker = Worker(
            Processing(self.road, self.objects, self.journal, self.threads),
            self.objects,
            self.notifier,
            self.journal,
            self.threads,
            clock,
        )
        more = {} if new_id is None else {"new_id": new_id}
        options = JobOptions(PLACES, concurrency, limit)
        self.jobs = AsyncJobs(self.worker, self.journal, self.threads, clock, options, **more)
