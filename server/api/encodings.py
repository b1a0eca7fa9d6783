"""Content-Encoding in, Accept-Encoding out. Large bodies are worked on in a thread, so that pings are answered."""

import asyncio
from typing import Final

from server.api.surface import HeaderMap, RawHeaders, text
from server.codecs.http import compression
from server.domain.payload import Body

OFFLOAD_BYTES: Final = 1 << 18
"""From here on (de)compressing takes longer than handing it to a thread."""


async def inflated(body: bytes, headers: HeaderMap, limit_bytes: int) -> bytes | memoryview:
    """Undo the request's Content-Encoding.

    Raises:
        UnsupportedMediaType, InvalidRequest: an encoding we do not read, or a body that is not in it.
        PayloadTooLarge: more than `limit_bytes` inside.
    """
    encoding = text(headers, b"content-encoding")
    if not encoding:
        return body
    if len(body) < OFFLOAD_BYTES:
        return compression.inflate(body, encoding, limit_bytes)
    return await asyncio.to_thread(compression.inflate, body, encoding, limit_bytes)


async def deflated(body: Body, own: RawHeaders, headers: HeaderMap) -> Body:
    """Compress an answer where the client asks for it and it pays, and say so in `own`."""
    encoding = _picked(body, headers)
    if not encoding:
        return body
    _say(encoding, own)
    if sum(map(len, body)) < OFFLOAD_BYTES:
        return (compression.deflate(body, encoding),)
    return (await asyncio.to_thread(compression.deflate, body, encoding),)


def deflated_now(body: Body, own: RawHeaders, headers: HeaderMap) -> Body:
    """The same, but what would take long stays as it is."""
    encoding = _picked(body, headers)
    if not encoding or sum(map(len, body)) >= OFFLOAD_BYTES:
        return body
    _say(encoding, own)
    return (compression.deflate(body, encoding),)


def _picked(body: Body, headers: HeaderMap) -> str:
    accepted = headers.get(b"accept-encoding", b"")
    if accepted in (b"", b"identity"):  # botocore sends the latter
        return ""
    return compression.pick(accepted.decode("latin-1"), sum(map(len, body)))


def _say(encoding: str, own: RawHeaders) -> None:
    own += ((b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding"))
