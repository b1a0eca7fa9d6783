"""Compares the ledger with the memory now and then, also where nothing is loaded for hours and requests leak."""

from collections.abc import Awaitable, Callable
from typing import Final

from server.lifespan.rounds import Rounds

PAUSE_S: Final = 30.0


def memory_rounds(look: Callable[[], Awaitable[None]]) -> Rounds:
    """Call `look` twice a minute."""
    return Rounds("comparing the ledger with the memory", look, PAUSE_S)
