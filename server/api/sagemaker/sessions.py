"""Stateful sessions: the id that a caller sends, and what a model says of the sessions that it opens and closes.

A caller begins with the Session-Id `NEW_SESSION` and then sends the id it was given. Here the model decides: it finds
the header in its request parameter `session_id`, and answers with response parameters that become headers:

| response parameter | header |
|---|---|
| `new_session_id` (`session_expires`: epoch seconds or ISO 8601; one hour from now without) | `-New-Session-Id` |
| `closed_session_id` | `-Closed-Session-Id` |

A model that says nothing to `NEW_SESSION` has no sessions, and none is answered. Which sessions exist is the model's
business: an id that it does not know is its error to raise.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from server.api.surface import HeaderMap, RawHeaders, text
from server.domain.clock import Clock
from server.domain.errors import InferenceFailed, InvalidHeader
from server.domain.inference import Parameter

SESSION_ID: Final = b"x-amzn-sagemaker-session-id"
NEW_SESSION_ID: Final = b"x-amzn-sagemaker-new-session-id"
CLOSED_SESSION_ID: Final = b"x-amzn-sagemaker-closed-session-id"
NEW_SESSION: Final = "NEW_SESSION"
USUAL_LIFE_S: Final = 3600.0

_ID: Final = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9])*")
_LONGEST: Final = 256
_NEW: Final = "new_session_id"
_EXPIRES: Final = "session_expires"
_CLOSED: Final = "closed_session_id"


def session_id(headers: HeaderMap, is_new_allowed: bool = True) -> str:
    """Return the Session-Id. Raises InvalidHeader where it is none, or NEW_SESSION where none can be opened."""
    said = text(headers, SESSION_ID).strip()
    if said == NEW_SESSION:
        if is_new_allowed:
            return said
        raise InvalidHeader("a session cannot be opened by a call that is answered as a stream; open it before")
    if not _is_id(said):
        raise InvalidHeader(
            f"X-Amzn-SageMaker-Session-Id has to be {NEW_SESSION}, or letters, digits and hyphens between them, "
            f"at most {_LONGEST} of them; got {said[:40]!r}"
        )
    return said


def headers_of(parameters: Mapping[str, Parameter], clock: Clock) -> RawHeaders:
    """Return the headers that a model's response parameters stand for.

    Raises:
        InferenceFailed: the model answered an id or a time that no header can carry.
    """
    own: RawHeaders = []
    if _NEW in parameters:
        expires = _moment(parameters.get(_EXPIRES, clock.wall() + USUAL_LIFE_S))
        own.append((NEW_SESSION_ID, f"{_checked(_NEW, parameters[_NEW])}; Expires={expires}".encode()))
    if _CLOSED in parameters:
        own.append((CLOSED_SESSION_ID, _checked(_CLOSED, parameters[_CLOSED]).encode()))
    return own


def _is_id(said: str) -> bool:
    return len(said) <= _LONGEST and _ID.fullmatch(said) is not None


def _checked(parameter: str, said: Parameter) -> str:
    if not _is_id(str(said)):
        raise InferenceFailed(f"the model's response parameter {parameter} is no session id: {str(said)[:40]!r}")
    return str(said)


def _moment(said: Parameter) -> str:
    try:
        moment = datetime.fromtimestamp(float(said), UTC)
    except ValueError:
        moment = _from_iso(str(said))
    except (OverflowError, OSError) as error:
        raise InferenceFailed(f"the model's response parameter {_EXPIRES} is no time: {said!r}") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _from_iso(said: str) -> datetime:
    try:
        moment = datetime.fromisoformat(said)
    except ValueError as error:
        raise InferenceFailed(f"the model's response parameter {_EXPIRES} is no time: {said[:40]!r}") from error
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment
