"""Lets archives go that nobody asked for any more, for as long as the server lives."""

from typing import Final, Protocol

from server.lifespan.rounds import Rounds

LONGEST_PAUSE_S: Final = 30.0
PAUSES_PER_LIFE: Final = 4


class Expires(Protocol):
    """Residency, as far as this file needs it."""

    def expire(self) -> None:
        """Let go of what outlived its time."""
        ...


def expiry(residency: Expires, ttl_s: float | None) -> Rounds:
    """Call `expire` so often that an archive outlives `ttl_s` by a quarter of it or by half a minute at most.

    `ttl_s`: the time to live; `None`: archives leave only when room is needed.
    """

    async def expire() -> None:
        residency.expire()

    return Rounds("expiry", expire, min(LONGEST_PAUSE_S, ttl_s / PAUSES_PER_LIFE) if ttl_s is not None else None)
