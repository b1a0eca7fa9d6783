"""Closes groups of calls to those who do not send an agreed header, as Triton's `--http-restricted-api` does."""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api import request_context
from server.api.errors import Refusal, plain_refusal
from server.api.surface import RawHeaders, Surface, respond, surface_of


class Group(StrEnum):
    """Calls that are restricted together."""

    INFERENCE = "inference"
    MODEL_REPOSITORY = "model-repository"
    HEALTH = "health"


@dataclass(frozen=True, slots=True)
class Restriction:
    """The header that opens a group. `header` as it was written; `value` as bytes on the wire."""

    header: str
    value: bytes


Restrictions: TypeAlias = Mapping[Group, Restriction]

_GROUPS: Final = (
    ("/ping", Group.HEALTH),
    ("/v2/health", Group.HEALTH),
    ("/v2/repository", Group.MODEL_REPOSITORY),
    ("/admin", Group.MODEL_REPOSITORY),
    ("/invocations", Group.INFERENCE),
    ("/endpoints", Group.INFERENCE),
)
"""By prefix; so that a route below one of these that is added later is not open by oversight."""


def restrictions(written: Sequence[str]) -> Restrictions:
    """Read `GROUP[,GROUP]:HEADER=VALUE`, once for each group. Raises ValueError, without the value in its text."""
    found: dict[Group, Restriction] = {}
    for entry in written:
        groups, has_colon, rest = entry.partition(":")
        header, has_sign, value = rest.partition("=")
        if not (has_colon and has_sign and header.isascii() and header.strip() and value):
            raise ValueError(f"restrict_api {groups!r}: write GROUP[,GROUP]:HEADER=VALUE")
        for name in groups.split(","):
            group = _group(name.strip())
            if group in found:
                raise ValueError(f"restrict_api {group}: one header for each group, and this one has two")
            found[group] = Restriction(header.strip(), value.encode("utf-8"))
    return found


def _group(name: str) -> Group:
    try:
        return Group(name)
    except ValueError as error:
        raise ValueError(f"restrict_api {name!r}: there are the groups {', '.join(Group)}") from error


def group_of(method: str, path: str) -> Group | None:
    """Say which group a call belongs to; `None` where it can never be restricted. `path` is percent-decoded."""
    if path.startswith("/models"):
        return Group.INFERENCE if path.endswith("/invoke") else Group.MODEL_REPOSITORY
    if path.startswith("/v2/models"):
        if path.endswith("/ready"):
            return Group.HEALTH
        return Group.INFERENCE if method not in {"GET", "HEAD"} else None
    return next((group for prefix, group in _GROUPS if path.startswith(prefix)), None)


class Restricted:
    """The outermost ASGI app where anything is restricted."""

    def __init__(self, app: ASGIApp, closed: Restrictions) -> None:
        self._app = app
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is open or opened by its header; answer the rest with 403."""
        restriction = None
        if scope["type"] == "http":
            group = group_of(scope["method"], scope["path"])
            restriction = self._closed.get(group) if group else None
        if restriction is None or _is_opened(restriction, scope["headers"]):
            await self._app(scope, receive, send)
            return
        surface = surface_of(scope["path"])
        refused = _forbidden(surface, restriction.header)
        chosen = request_context.enter(dict(scope["headers"]))
        request_context.note_answer(scope["path"], refused.status)
        own = [*refused.headers, *request_context.headers_of(surface, chosen)]
        await respond(send, refused.status, own, (refused.body,))


def _is_opened(restriction: Restriction, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    name = restriction.header.lower().encode("ascii")
    # In constant time: how long a refusal takes must not tell how much of a guess was right.
    return any(hmac.compare_digest(value, restriction.value) for sent, value in headers if sent == name)


def _forbidden(surface: Surface, header: str) -> Refusal:
    refused = plain_refusal(surface, 403, f"This API is restricted, expecting header '{header}'")
    headers: RawHeaders = [
        (name, b"AccessDeniedException" if name == b"x-amzn-errortype" else value) for name, value in refused.headers
    ]
    return Refusal(refused.status, headers, refused.body)
