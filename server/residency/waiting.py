"""Who waits for what: first come, first served by archive; the waiters of one archive are served together."""

from collections.abc import Sequence

from server.domain.model import StagedArchive


class WaitingRoom:
    """Waiters by the key of the content they want.

    `queue` holds the contents that wait for room, in the order in which they were first asked for. The waiters of
    content that is being loaded have left the queue, and are still here.
    """

    def __init__(self) -> None:
        self.queue: dict[str, StagedArchive] = {}
        self.changes = 0
        """Counts how often the queue changed."""
        self._archives: dict[str, StagedArchive] = {}
        self._waiters: dict[str, list[int]] = {}
        self._key_of: dict[int, str] = {}

    def join(self, waiter: int, archive: StagedArchive, *, is_queued: bool) -> None:
        """Let a waiter in, behind the others; `is_queued` when its content still has to wait for room."""
        self._archives.setdefault(archive.key, archive)
        self._waiters.setdefault(archive.key, []).append(waiter)
        self._key_of[waiter] = archive.key
        if is_queued and archive.key not in self.queue:
            self.queue[archive.key] = archive
            self.changes += 1

    def leave(self, waiter: int) -> str | None:
        """A waiter gives up. Returns the key that nobody waits for any more, if so."""
        key = self._key_of.pop(waiter, None)
        if key is None:
            return None
        self._waiters[key].remove(waiter)
        if self._waiters[key]:
            return None
        self.dismiss(key)
        return key

    def board(self, key: str) -> None:
        """The content has room now; its waiters go on waiting for the load."""
        del self.queue[key]
        self.changes += 1

    def dismiss(self, key: str) -> Sequence[int]:
        """Everybody who waits for the key leaves, to be granted or refused. Returns them in the order of arrival."""
        self.changes += self.queue.pop(key, None) is not None
        self._archives.pop(key, None)
        waiters = self._waiters.pop(key, [])
        for waiter in waiters:
            del self._key_of[waiter]
        return waiters

    def is_awaited(self, key: str) -> bool:
        """Whether anybody waits for this content."""
        return key in self._waiters

    def wanted(self) -> Sequence[StagedArchive]:
        """Every content that somebody waits for."""
        return [self._archives[key] for key in self._waiters]

    def counts(self) -> dict[str, int]:
        """How many wait, by key."""
        return {key: len(waiters) for key, waiters in self._waiters.items()}
