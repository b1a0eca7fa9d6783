"""The framing of `application/vnd.amazon.eventstream`, in which InvokeEndpointWithResponseStream is answered.

A frame is: total length, length of the headers, CRC-32 of these two; headers; payload; CRC-32 of all before it. Numbers
are big-endian. A header is: length and text of its name, type 7 (text), length and text of its value.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

from server.domain.payload import Body

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
PART_BYTES: Final = 1 << 20
"""Largest payload of one frame; readers hold a frame in memory."""

_PART: Final[Mapping[str, str]] = {
    ":message-type": "event",
    ":event-type": "PayloadPart",
    ":content-type": "application/octet-stream",
}


def framed(body: Body) -> Body:
    """Put a whole answer into PayloadPart frames."""
    return tuple(frame(_PART, piece) for piece in _pieces(body))


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Write one frame."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = b"".join((prelude, struct.pack(">I", zlib.crc32(prelude)), head, payload))
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", 7, len(text)) + text


def _pieces(body: Body) -> Iterable[bytes]:
    for part in body:
        view = memoryview(part).cast("B")
        for start in range(0, len(view), PART_BYTES):
            yield bytes(view[start : start + PART_BYTES])
