"""Words of HTTP that all surfaces share."""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from starlette.types import Send

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
"""Headers as ASGI writes them: lower-case names, latin-1."""

HeaderMap: TypeAlias = Mapping[bytes, bytes]
"""A request's headers by lower-case name; of a repeated header the last one."""

Bytes: TypeAlias = bytes | memoryview

JSON: Final = b"application/json"
REQUEST_ID: Final = b"x-request-id"
WARMTH: Final = b"x-roundhouse-warmth"
LOAD_MS: Final = b"x-roundhouse-load-ms"


class Surface(Enum):
    """Whose manners an answer follows."""

    SINGLE = auto()
    """SageMaker container, `/invocations`."""
    MULTI = auto()
    """SageMaker container, `/models`."""
    RUNTIME = auto()
    """SageMaker runtime, `/endpoints`: what boto3 speaks."""
    KSERVE = auto()
    """KServe v2, `/v2`: what tritonclient speaks."""
    ADMIN = auto()
    """Our own routes."""


_BY_PREFIX: Final = (
    ("/v2", Surface.KSERVE),
    ("/models", Surface.MULTI),
    ("/endpoints", Surface.RUNTIME),
    ("/invocations", Surface.SINGLE),
    ("/ping", Surface.SINGLE),
)


def surface_of(path: str) -> Surface:
    """Say which surface a path belongs to, for errors on routes that do not exist."""
    return next((surface for prefix, surface in _BY_PREFIX if path.startswith(prefix)), Surface.ADMIN)


def text(headers: HeaderMap, name: bytes) -> str:
    """Return a header's value, "" where absent."""
    return headers.get(name, b"").decode("latin-1")


async def respond(send: Send, status: int, headers: RawHeaders, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a whole answer; Content-Length is added here. Pieces are sent one by one, without joining them."""
    parts = [piece if isinstance(piece, bytes) else memoryview(piece).cast("B") for piece in pieces if len(piece)]
    length = sum(map(len, parts))
    start: dict[str, Any] = {
        "type": "http.response.start",
        "status": status,
        "headers": [*headers, (b"content-length", b"%d" % length)],
    }
    await send(start)
    if length <= JOIN_BYTES:
        await send({"type": "http.response.body", "body": b"".join(parts)})
        return
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


JOIN_BYTES: Final = 1 << 16
"""Up to here one write of a joined body is cheaper than several writes."""
