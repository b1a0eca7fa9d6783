"""The framing of `application/vnd.amazon.eventstream`, in which InvokeEndpointWithResponseStream is answered.

A frame is: total length, length of the headers, CRC-32 of these two; headers; payload; CRC-32 of all before it. Numbers
are big-endian. A header is: length and text of its name, type 7 (text), length and text of its value.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final

import orjson

from server.api.framing import Framing
from server.domain.errors import Bug, DeadlineExceeded, RoundhouseError
from server.domain.payload import Answer, Body

CONTENT_TYPE: Final = b"application/vnd.amazon.eventstream"
PART_BYTES: Final = 8 << 20
"""Largest payload of one frame: readers hold a frame in memory, and refuse those of 16 MiB (botocore: of 24)."""

_PART: Final[Mapping[str, str]] = {
    ":message-type": "event",
    ":event-type": "PayloadPart",
    ":content-type": "application/octet-stream",
}
_EXCEPTION: Final[Mapping[str, str]] = {":message-type": "exception", ":content-type": "application/json"}


class EventStream:
    """Each response is one PayloadPart (several if it is large), an error the modelled exception."""

    content_type: bytes = CONTENT_TYPE

    def __init__(self, inner: Framing | None = None) -> None:
        """`inner` frames each response before it becomes a part."""
        self._inner = inner

    def part(self, answer: Answer) -> Body:
        """Frame one response. An empty one has a frame, too."""
        body = b"".join(self._inner.part(answer) if self._inner else answer.body)
        return tuple(frame(_PART, body[at : at + PART_BYTES]) for at in range(0, max(len(body), 1), PART_BYTES))

    def failure(self, error: RoundhouseError) -> Body:
        """Frame the error that ends the stream. boto3 raises it as EventStreamError."""
        if isinstance(error, Bug):
            kind, document = "InternalStreamFailure", {"Message": str(error)}
        else:
            code = "ModelInvocationTimeExceeded" if isinstance(error, DeadlineExceeded) else "StreamBroken"
            kind, document = "ModelStreamError", {"Message": str(error), "ErrorCode": code}
        return (frame({**_EXCEPTION, ":exception-type": kind}, orjson.dumps(document)),)


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Write one frame."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = b"".join((prelude, struct.pack(">I", zlib.crc32(prelude)), head, payload))
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", 7, len(text)) + text
