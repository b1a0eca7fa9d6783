"""When an archive must be verified again, and how long it may be served unverified. No I/O; the clock is passed in."""

from dataclasses import dataclass

from server.domain.clock import Clock
from server.store.last_few import LastFew


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How fresh, and how patient. Seconds."""

    refresh_s: float = 2.0
    """An archive that was verified less than this ago is not verified again: changes show up within this time."""
    refresh_ahead_s: float = 1.0
    """Archives in use are verified in the background this long before `refresh_s` is over, so that nobody waits."""
    patience_s: float = 5.0
    """How long a version check may take while a staged version could be served instead."""
    retry_s: float = 10.0
    """Rest for an origin that did not answer, before it is asked again about archives that are staged."""
    stale_limit_s: float = 3600.0
    """How long an archive may be served that could not be verified."""


class Freshness:
    """Remembers per archive when it was looked at, and when its version was last confirmed; of the last few thousand.

    One that is forgotten counts as never looked at, and as confirmed at the start.
    """

    def __init__(self, clock: Clock, options: StoreOptions) -> None:
        self._clock = clock
        self._options = options
        self._started_at = clock.now()
        self._checked_at = LastFew[float]()
        self._verified_at = LastFew[float]()
        self._rest_until = clock.now()

    def verified(self, key: str) -> None:
        """The origin confirmed the version (or that the content is broken)."""
        now = self._clock.now()
        self._verified_at.put(key, now)
        self._checked_at.put(key, now)

    def unverified(self, key: str) -> None:
        """The staged version is served although the origin did not answer; do not ask again at once."""
        self._checked_at.put(key, self._clock.now())

    def origin_failed(self) -> None:
        """Let the origin rest."""
        self._rest_until = self._clock.now() + self._options.retry_s

    def forget(self, key: str) -> None:
        """The archive is gone."""
        self._checked_at.forget(key)
        self._verified_at.forget(key)

    def is_fresh(self, key: str) -> bool:
        """Whether the archive needs no check now."""
        return self._age_s(key) < self._options.refresh_s

    def is_due_soon(self, key: str) -> bool:
        """Whether a check in the background is worth it."""
        return self._age_s(key) >= self._options.refresh_s - self._options.refresh_ahead_s

    def is_resting(self) -> bool:
        """Whether the origin failed a short while ago."""
        return self._clock.now() < self._rest_until

    def may_be_stale(self, key: str) -> bool:
        """Whether the archive may be served without being verified. After a restart, the start counts as verified."""
        verified_at = self._verified_at.get(key, self._started_at)
        return self._clock.now() - verified_at < self._options.stale_limit_s

    def _age_s(self, key: str) -> float:
        checked_at = self._checked_at.get(key)
        return float("inf") if checked_at is None else self._clock.now() - checked_at
