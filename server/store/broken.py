"""Which content cannot be staged, and why: remembered by version, so that it is fetched once only. Pure."""

from dataclasses import dataclass
from typing import TypeAlias

from server.domain.errors import InvalidArchive, UnsupportedModel
from server.store.last_few import LastFew

ContentFault: TypeAlias = InvalidArchive | UnsupportedModel


@dataclass(frozen=True, slots=True)
class _Broken:
    version: str
    error: type[ContentFault]
    reason: str


class BrokenVersions:
    """One broken version per archive: the newest that was tried."""

    def __init__(self) -> None:
        self._by_key = LastFew[_Broken]()

    def __contains__(self, key: str) -> bool:
        """Whether the newest version that was tried is broken."""
        return key in self._by_key

    def remember(self, key: str, version: str, error: ContentFault) -> None:
        """This version cannot be staged."""
        self._by_key.put(key, _Broken(version, type(error), str(error)))

    def forget(self, key: str) -> None:
        """The archive is gone, or whole again."""
        self._by_key.forget(key)

    def check(self, key: str, version: str | None = None) -> None:
        """Raise what was wrong with this version (any version, if none is given); a new exception each time."""
        broken = self._by_key.get(key)
        if broken is not None and version in {None, broken.version}:
            raise broken.error(broken.reason)
