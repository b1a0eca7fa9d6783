"""How a surface puts a stream of answers on the wire, and the framing of Server-Sent Events."""

from typing import Final, Protocol

import orjson

from server.domain.errors import RoundhouseError
from server.domain.payload import Answer, Body


class Framing(Protocol):
    """One surface's stream. `content_type` is the HTTP answer's."""

    content_type: bytes

    def part(self, answer: Answer) -> Body:
        """Frame one response."""
        ...

    def failure(self, error: RoundhouseError) -> Body:
        """Frame the error that ends the stream, after its first response went out."""
        ...


class ServerSentEvents:
    """`data: {json}` and an empty line for each response, as Triton's generate_stream writes them."""

    content_type: bytes = b"text/event-stream; charset=utf-8"

    def part(self, answer: Answer) -> Body:
        """Frame one response, which is JSON on one line."""
        return (DATA, *answer.body, END)

    def failure(self, error: RoundhouseError) -> Body:
        """Frame the error that ends the stream."""
        return (DATA, orjson.dumps({"error": str(error)}), END)


DATA: Final = b"data: "
END: Final = b"\n\n"
SSE: Final = ServerSentEvents()
