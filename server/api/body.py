"""Reads a request body once, within limits."""

from typing import Final

from starlette.requests import Request
from starlette.types import Receive

from server.api.surface import HeaderMap
from server.domain.errors import PayloadTooLarge

SMALL_BYTES: Final = 1 << 20
"""Limit of bodies that are no inference request."""


class ClientGone(Exception):
    """The client closed its connection. Nobody reads an answer any more, so nothing is sent and nothing is logged."""


async def read_body(receive: Receive, headers: HeaderMap, limit_bytes: int) -> bytes:
    """Return the body as sent.

    Raises:
        PayloadTooLarge: at once where Content-Length says so, else when the chunks add up to more.
        ClientGone: it went away while sending.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise PayloadTooLarge(limit_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise PayloadTooLarge(limit_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_small(request: Request) -> bytes:
    """Return the body of a request that is not an inference. Raises PayloadTooLarge."""
    return await read_body(request.receive, dict(request.scope["headers"]), SMALL_BYTES)
