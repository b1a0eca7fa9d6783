"""Ids of requests: taken from `x-request-id` where a caller sends one, made here otherwise, and one line of log each.

The id is in every answer (`x-request-id`; `x-amzn-RequestId` where boto3 looks for it) and in every log line that is
written while the request runs. Answered requests are logged at debug, so that they cost nothing by default.
"""

import itertools
import logging
import os
from typing import Final

from server.api.surface import REQUEST_ID, HeaderMap, RawHeaders, Surface
from server.telemetry.logging import request_id

log = logging.getLogger("roundhouse.requests")

AMZN_REQUEST_ID: Final = b"x-amzn-requestid"
MAX_ID_BYTES: Final = 128

# Unique among processes by its random part and within this one by counting: far cheaper than a UUID for each request.
_PROCESS: Final = os.urandom(8).hex()
_counter = itertools.count(1)


def enter(headers: HeaderMap) -> bytes:
    """Give the request its id, for the log lines of this task too."""
    sent = headers.get(REQUEST_ID)
    chosen = sent if sent is not None and _is_usable(sent) else b"%s-%x" % (_PROCESS.encode(), next(_counter))
    request_id.set(chosen.decode("ascii"))
    return chosen


def headers_of(surface: Surface, chosen: bytes) -> RawHeaders:
    """Return the id's headers for an answer."""
    if surface is Surface.RUNTIME:
        return [(REQUEST_ID, chosen), (AMZN_REQUEST_ID, chosen)]
    return [(REQUEST_ID, chosen)]


def headers_now(surface: Surface) -> RawHeaders:
    """Return the headers of the id that the request at hand was given by `enter`."""
    return headers_of(surface, request_id.get().encode("ascii"))


def note_answer(path: str, status: int, name: str = "", warmth: str = "", total_s: float = 0.0) -> None:
    """Log one answered request."""
    if log.isEnabledFor(logging.DEBUG):
        extra = {"path": path, "status": status, "archive": name, "warmth": warmth, "seconds": round(total_s, 6)}
        log.debug("answered", extra=extra)


def note_error(path: str, status: int, error: Exception, is_bug: bool) -> None:
    """Log one refused request: what is the caller's fault at info, what is ours louder, a bug with its traceback."""
    level = logging.ERROR if is_bug else logging.WARNING if status >= 500 else logging.INFO
    if log.isEnabledFor(level):
        text = "bug" if is_bug else str(error)
        log.log(level, "refused: %s", text, extra={"path": path, "status": status}, exc_info=error if is_bug else None)


def _is_usable(sent: bytes) -> bool:
    return 0 < len(sent) <= MAX_ID_BYTES and sent.isascii() and sent.decode().isprintable() and b" " not in sent
