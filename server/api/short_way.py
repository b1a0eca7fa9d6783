"""The short way of a request: from the HTTP protocol straight to the hot path, without ASGI between them.

Between a parsed request and a trivial model's answer, ASGI's messages, the task and the events that uvicorn makes for
each request take as long as all the rest. What is small, whole and answered in one piece needs none of them.
`docs/hot_path.md` has the figures.
"""

from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from server.api.door import Call, Route
from server.api.surface import RawHeaders
from server.domain.payload import Body

SMALL_BYTES: Final = 1 << 20
"""Bodies up to here come the short way. By ASGI they would be read as far, just as greedily: in steps of 64 KiB, with a
pause, an event and three copies each, which takes 0.3 to 0.4 ms of a photo's 100 KB. From here on bodies are decoded in
a thread anyway."""

Written: TypeAlias = tuple[int, RawHeaders, Body]
"""Status, headers without Content-Length, and the body's pieces."""


@dataclass(slots=True)
class Asked:
    """One whole request. `path` is decoded."""

    call: Call
    path: str
    body: bytes
    request_id: bytes


class ShortWay(Protocol):
    """Who answers what comes the short way (the hot path). Errors are answers, too: nothing is raised."""

    def route(self, target: bytes) -> Route | None:
        """Take a request's target apart; None where it has to come by ASGI."""
        ...

    def asked(self, route: Route, headers: list[tuple[bytes, bytes]], target: bytes, body: bytes) -> Asked:
        """Give a request its id, for log lines too."""
        ...

    def at_once(self, asked: Asked) -> Written | None:
        """Answer now, on this turn of the event loop; None where that takes longer: await `answer`."""
        ...

    async def answer(self, asked: Asked) -> Written:
        """Answer. Cancelling it (the client went away) gives everything back."""
        ...
