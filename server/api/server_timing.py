"""A cold answer's phases as a `Server-Timing` header (W3C), in milliseconds; browsers and proxies show it as it is."""

import re
from collections.abc import Iterator
from typing import Final

from server.domain.cold_start import ColdStart

SERVER_TIMING: Final = b"server-timing"
_UNQUOTABLE: Final = re.compile(r'[^\x20-\x7e]|["\\]')
_MOST_STEPS: Final = 32
"""Steps that are named one by one; a header has its limits."""


def server_timing(start: ColdStart, waited_s: float, infer_s: float) -> tuple[bytes, bytes]:
    """The header. `wait` is what the request waited besides: for room, for other loads, for an earlier staging."""
    return SERVER_TIMING, ", ".join(_entries(start, waited_s, infer_s)).encode("ascii")


def _entries(start: ColdStart, waited_s: float, infer_s: float) -> Iterator[str]:
    staging = start.staging
    if staging.total_s:
        yield _entry("fetch", staging.fetch_s)
        yield _entry("unpack", staging.unpack_s)
        yield _entry("digest", staging.digest_s)
        yield _entry("place", staging.place_s)
    yield _entry("wait", max(0.0, waited_s - staging.total_s - start.load_s))
    yield _entry("load", start.load_s)
    for step in start.steps[:_MOST_STEPS]:
        name = _UNQUOTABLE.sub("?", step.name)
        yield f'step;desc="{name}";dur={step.times.load_s * 1000:.1f}'
    if start.warm_up_s:
        yield _entry("warm-up", start.warm_up_s)
    yield _entry("infer", infer_s)


def _entry(name: str, seconds: float) -> str:
    return f"{name};dur={seconds * 1000:.1f}"
