"""What was learnt of the names that were used last. Of all others nothing is kept: there may be millions."""

from threading import Lock
from typing import Final, TypeVar

V = TypeVar("V")

MOST_NAMES: Final = 10_000


class LastFew(dict[str, V]):
    """Values by name, at most `limit`: the one that was `put` in longest ago goes first. Thread-safe.

    A dictionary, so that looking a name up costs what it costs there: that is done for every request.
    """

    def __init__(self, limit: int = MOST_NAMES) -> None:
        super().__init__()
        self._limit = limit
        self._lock = Lock()

    def put(self, name: str, value: V) -> None:
        """Keep it, as the latest."""
        with self._lock:
            self.pop(name, None)
            self[name] = value
            while len(self) > self._limit:
                del self[next(iter(self))]

    def forget(self, name: str) -> None:
        """Keep nothing of it; unknown names are ignored."""
        with self._lock:
            self.pop(name, None)
