"""Gives requests that are not on the hot path their ids."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api import request_context
from server.api.surface import surface_of


class Identified:
    """ASGI: sets the request's id and writes it into the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, adding headers to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        chosen = request_context.enter(dict(scope["headers"]))

        async def send_identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = request_context.headers_of(surface_of(scope["path"]), chosen)
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        await self._app(scope, receive, send_identified)
