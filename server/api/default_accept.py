"""What SageMaker's callers get who do not say what they want: the toolkits' SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.surface import Surface, surface_of

_OF_SAGEMAKER: Final = {Surface.SINGLE, Surface.MULTI, Surface.RUNTIME}
_ANYTHING: Final = {b"", b"*/*"}


class DefaultAccept:
    """ASGI: adds the Accept that is missing. A family that cannot write it answers in its own form."""

    def __init__(self, app: ASGIApp, media_type: str) -> None:
        self._app = app
        self._accept = (b"accept", f"{media_type}, */*;q=0.1".encode("latin-1"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["method"] == "POST" and surface_of(scope["path"]) in _OF_SAGEMAKER:
            kept = [(name, value) for name, value in scope["headers"] if name != b"accept" or value not in _ANYTHING]
            if all(name != b"accept" for name, _ in kept):
                scope = {**scope, "headers": [*kept, self._accept]}
        await self._app(scope, receive, send)
