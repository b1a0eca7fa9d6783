"""Content-Encoding in, Accept-Encoding out. Large bodies are worked on in a thread, so that pings are answered."""

import asyncio
from typing import Final

from server.api.surface import HeaderMap, RawHeaders, text
from server.codecs import compression
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
    accepted = text(headers, b"accept-encoding")
    if not accepted or accepted == "identity":  # what botocore sends
        return body
    size = sum(map(len, body))
    encoding = compression.pick(accepted, size)
    if not encoding:
        return body
    own += ((b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding"))
    if size < OFFLOAD_BYTES:
        return (compression.deflate(body, encoding),)
    return (await asyncio.to_thread(compression.deflate, body, encoding),)
