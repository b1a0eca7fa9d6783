"""Starts a peer in a process of its own, and ends it by process id."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.load.processes import until_ready

_READY = re.compile(r"ready on port (\d+)")


@contextmanager
def server_process(arguments: Sequence[str], python: str = sys.executable) -> Iterator[int]:
    """Run Python with `arguments`; yields the port once the process printed `ready on port N`.

    Raises:
        RuntimeError: it ended before that; names the end of what it said.
    """
    with until_ready([python, *arguments], _READY) as server:
        yield server.port
