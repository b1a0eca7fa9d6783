"""Looks now and then whether an archive will be asked for soon, for as long as the server lives."""

from collections.abc import Callable
from typing import Final, Protocol

from server.lifespan.rounds import Rounds

PAUSE_S: Final = 5.0
"""Between two looks. Intervals are told apart from five minutes on, so that a guess loses nothing by it."""
FEW: Final = 2
"""Requests inside at which the server still counts as idle."""


class Looks(Protocol):
    """The prefetcher, as far as this file needs it."""

    async def look(self, *, is_idle: bool) -> None:
        """Learn, and where the server is idle bring up what is expected."""
        ...


def prefetching(prefetcher: Looks, running: Callable[[], int]) -> Rounds:
    """Call `look` again and again. `running` says how many requests are inside."""

    async def look() -> None:
        await prefetcher.look(is_idle=running() <= FEW)

    return Rounds("prefetching", look, PAUSE_S)
