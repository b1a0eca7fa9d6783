"""What was accepted and has not ended, on disk: a job that was answered 202 outlives the process, however that ends.

One file per job, `<accepted>-<id>.<starts>.job`: it is there as a whole or not at all, from before the call is answered
until after its result is written. Names sort by acceptance. `starts` counts how often a run of the job began and was
neither finished nor called off; a job that takes the server down with it is found out by that, see `worker.py`.

Blocking; callers bring a thread. Calls for different jobs may run side by side.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from server.domain.errors import StoreUnavailable
from server.jobs.async_inference import Job
from server.jobs.job_record import dump, load
from server.jobs.journal_files import JournalFiles

_log = logging.getLogger(__name__)
_SUFFIX: Final = ".job"
_UNFINISHED: Final = ".tmp"
_UNREADABLE: Final = ".unreadable"


@dataclass(frozen=True, slots=True)
class Recovered:
    """A job that an earlier server accepted. `starts` is how often it was under way when a server died."""

    job: Job
    starts: int


class Journal:
    """The jobs of one cache folder. Methods raise StoreUnavailable where the disk does not do its part."""

    def __init__(self, files: JournalFiles) -> None:
        self._files = files
        self._starts: dict[str, int] = {}

    def recover(self) -> list[Recovered]:
        """Return what earlier servers left, in the order of acceptance; drop what was never accepted."""
        with _writing():
            found = []
            for name in self._files.names():
                if name.endswith(_UNFINISHED):
                    self._files.remove(name)  # it was never answered 202
                elif name.endswith(_SUFFIX) and (recovered := self._read(name)) is not None:
                    self._starts[recovered.job.id] = recovered.starts
                    found.append(recovered)
            return found

    def accept(self, job: Job, body: bytes) -> None:
        """Write a job down. Only after this it may be promised to anybody."""
        unfinished = f"{job.id}{_UNFINISHED}"
        with _writing():
            self._files.write(unfinished, dump(job, body))
            self._files.rename(unfinished, _name(job, 0))
            self._files.settle()
            self._starts[job.id] = 0

    def body(self, job: Job) -> bytes:
        """Return the payload that came with the call. Raises ValueError where the record is damaged."""
        with _writing():
            return load(self._files.read(_name(job, self._starts[job.id])))[1]

    def mark(self, job: Job, starts: int) -> None:
        """Note how many runs of the job began and came to no end. A mark that is there already changes nothing."""
        before = self._starts[job.id]
        if starts != before:
            with _writing():
                self._files.rename(_name(job, before), _name(job, starts))
                self._starts[job.id] = starts

    def end(self, job: Job) -> None:
        """Forget a job whose caller has been told."""
        with _writing():
            self._files.remove(_name(job, self._starts[job.id]))
            del self._starts[job.id]

    def _read(self, name: str) -> Recovered | None:
        try:
            job, _ = load(self._files.read(name))
            starts = int(name.removesuffix(_SUFFIX).rpartition(".")[2])
        except ValueError as error:
            _log.error("an accepted job cannot be read back and is set aside as %s%s: %s", name, _UNREADABLE, error)
            self._files.rename(name, name + _UNREADABLE)
            return None
        return Recovered(job, starts)


def _name(job: Job, starts: int) -> str:
    return f"{int(job.accepted_at * 1e6):017d}-{job.id}.{starts}{_SUFFIX}"


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the journal of jobs cannot be used: {error.strerror}") from error
