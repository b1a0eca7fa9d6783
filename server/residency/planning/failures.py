"""What could not be loaded, why, and until when nobody should try again."""

from dataclasses import dataclass
from typing import Final

from server.domain.errors import InvalidArchive, LoadFailed, RoundhouseError, UnsupportedModel
from server.domain.model import StagedArchive

LASTING: Final = (LoadFailed, UnsupportedModel, InvalidArchive)
"""Failures that the same content would meet again. A lost engine or a full device may be better next time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One content that failed. `until` is monotonic seconds."""

    name: str
    version: str
    error: RoundhouseError
    until: float


class FailureMemory:
    """Remembers lasting failures by content, for `ttl_s` seconds; new content has a new key and is tried at once."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._failures: dict[str, Failure] = {}

    def remember(self, archive: StagedArchive, error: RoundhouseError, at: float) -> None:
        """Keep the failure if it is a lasting one."""
        self._failures = {key: failure for key, failure in self._failures.items() if failure.until > at}
        if isinstance(error, LASTING):
            self._failures[archive.key] = Failure(archive.name, archive.version, error, at + self._ttl_s)

    def recall(self, key: str, at: float) -> RoundhouseError | None:
        """The reason why this content failed, while it is remembered: a new error with the old one as its cause."""
        failure = self._failures.get(key)
        if failure is None or failure.until <= at:
            return None
        again = fresh(failure.error)
        again.__cause__ = failure.error
        return again

    def remembered(self, at: float) -> list[Failure]:
        """What is still remembered."""
        return [failure for failure in self._failures.values() if failure.until > at]


def fresh(error: RoundhouseError) -> RoundhouseError:
    """An equal error that has not been raised yet: several callers must not share one traceback."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    twin.__cause__ = error.__cause__
    return twin
