"""Time, passed in. Nothing else in `server` reads a clock, so that tests can hold it still."""

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that never go backwards, and the wall's seconds for people."""

    def now(self) -> float:
        """Monotonic seconds; only differences mean anything."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, for logs and headers."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()
