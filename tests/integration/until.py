"""Waiting for another process: look until it is so, up to a deadline. For tests that watch a real server only."""

import time
from collections.abc import Callable
from typing import TypeVar

from server.domain.clock import SystemClock

T = TypeVar("T")
LOOK_EVERY_S = 0.02


def until(condition: Callable[[], T | None], timeout_s: float = 30.0, what: str = "") -> T:
    """Call `condition` again and again; returns its first true value. Raises AssertionError after `timeout_s`."""
    clock = SystemClock()
    deadline = clock.now() + timeout_s
    while not (found := condition()):
        if clock.now() > deadline:
            raise AssertionError(f"{what or condition} was not so within {timeout_s:g} s; last seen: {found!r}")
        time.sleep(LOOK_EVERY_S)
    return found
