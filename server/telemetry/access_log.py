"""Notes every request for the access log (docs/access_log.md): a `serving.ports.InvocationLog` around another.

On the event loop a request costs a clock reading, a dictionary look-up and an append; a thread of `access_log_file.py`
writes. What an archive is made of is asked where it may have changed: after each load that a request waited for.
"""

from collections.abc import Callable
from typing import Final, Protocol

from server.domain.clock import Clock
from server.domain.errors import ArchiveNotFound
from server.domain.part import Part
from server.telemetry.access_log_file import AccessLogFile, Line

PartsOf = Callable[[str], tuple[Part, ...]]
"""What an archive is made of, as far as it is known; empty where nothing is."""
MOST_KNOWN: Final = 100_000
"""Archives whose parts are kept; when there are more, all are asked again."""


class Invocations(Protocol):
    """The log that is kept besides (the metrics)."""

    def served(self, name: str, is_hit: bool, waited_s: float, infer_s: float, total_s: float) -> None:
        """Note a request that was answered."""
        ...

    def failed(self, name: str, error: Exception, total_s: float) -> None:
        """Note a request that met an error."""
        ...

    def left(self, name: str, total_s: float) -> None:
        """Note a request whose caller did not wait for the answer."""
        ...


class AccessLog:
    """Notes requests for names that archives have, answered or not, and passes all of them on to `besides`."""

    def __init__(self, besides: Invocations, parts_of: PartsOf, file: AccessLogFile, clock: Clock) -> None:
        self._besides = besides
        self._parts_of = parts_of
        self._put = file.put
        self._wall = clock.wall
        self._known: dict[str, tuple[Part, ...]] = {}

    def served(self, name: str, is_hit: bool, waited_s: float, infer_s: float, total_s: float) -> None:
        """Note a request that was answered; its time is that of its arrival. Seconds."""
        self._besides.served(name, is_hit, waited_s, infer_s, total_s)
        parts = self._known.get(name) if is_hit else None
        self._put(Line(self._wall() - total_s, name, parts or self._ask(name)))

    def failed(self, name: str, error: Exception, total_s: float) -> None:
        """Note a request that was refused or failed, unless there is no such archive."""
        self._besides.failed(name, error, total_s)
        if not isinstance(error, ArchiveNotFound):
            self._put(Line(self._wall() - total_s, name, self._known.get(name) or self._ask(name)))

    def left(self, name: str, total_s: float) -> None:
        """Note a request whose caller went away: it asked for the archive all the same."""
        self._besides.left(name, total_s)
        self._put(Line(self._wall() - total_s, name, self._known.get(name) or self._ask(name)))

    def asked(self, name: str, at: float) -> None:
        """Note a request that came at `at` (wall clock) and was counted elsewhere: a front-end worker answered it."""
        self._put(Line(at, name, self._known.get(name) or self._ask(name)))

    def _ask(self, name: str) -> tuple[Part, ...]:
        parts = self._parts_of(name)
        if parts:  # names that nobody knows are not kept: callers make them up
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[name] = parts
        return parts
