"""The names that were said last, as many as are worth the memory."""


class LastNames:
    """A set that forgets what was added longest ago once there are more than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Remember it, as the latest."""
        self._names.pop(name, None)
        self._names[name] = None
        if len(self._names) > self._limit:
            del self._names[next(iter(self._names))]

    def discard(self, name: str) -> None:
        """Forget it; unknown names are ignored."""
        self._names.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)
