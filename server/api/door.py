"""What a surface adds to the hot path: where the archive's name is, how to read the headers, what to answer with."""

from dataclasses import dataclass
from typing import Final, Protocol

from server.api.surface import Bytes, HeaderMap, RawHeaders, Surface
from server.domain.payload import Answer, Payload
from server.serving.address import AddressBook

INVOCATIONS: Final = "/invocations"


@dataclass(frozen=True, slots=True)
class Route:
    """An inference request's path, taken apart. `name` is a model on KSERVE and MULTI, and an endpoint on RUNTIME."""

    surface: Surface
    name: str = ""
    version: str = ""
    is_stream: bool = False
    """The caller reads an event stream (InvokeEndpointWithResponseStream)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One inference request, all but its body."""

    route: Route
    headers: HeaderMap


class Door(Protocol):
    """One surface's side of the hot path."""

    def archive(self, book: AddressBook, call: Call) -> str:
        """Say which archive is meant. Raises WrongTarget, ArchiveNotFound."""
        ...

    def payload(self, call: Call, body: Bytes) -> Payload:
        """Say how to read the inflated body. Raises InvalidRequest."""
        ...

    def present(self, call: Call, answer: Answer) -> tuple[RawHeaders, Answer]:
        """Return the surface's own headers, and the answer in the surface's wrapping."""
        ...


SINGLE: Final = Route(Surface.SINGLE)


def match(path: str) -> Route | None:
    """Take the (percent-decoded) path of an inference request apart; `None` for every other path.

    Names may contain slashes, sent as they are or encoded: what counts is what stands before the last words.
    """
    if path == INVOCATIONS:
        return SINGLE
    if path.startswith("/v2/models/") and path.endswith("/infer"):
        return _named(Surface.KSERVE, *versioned(path[len("/v2/models/") : -len("/infer")]))
    if path.startswith("/models/") and path.endswith("/invoke"):
        return _named(Surface.MULTI, path[len("/models/") : -len("/invoke")])
    if path.startswith("/endpoints/"):
        return _runtime(path[len("/endpoints/") :])
    return None


def _named(surface: Surface, name: str, version: str = "", is_stream: bool = False) -> Route | None:
    return Route(surface, name, version, is_stream) if name else None


def versioned(path: str) -> tuple[str, str]:
    """Cut `<name>/versions/<v>` into name and version, "" where there is none."""
    head, word, version = path.rpartition("/versions/")
    return (head, version) if word and version.isdigit() else (path, "")


def _runtime(rest: str) -> Route | None:
    endpoint, _, operation = rest.rpartition("/")
    if operation == "invocations":
        return _named(Surface.RUNTIME, endpoint)
    if operation == "invocations-response-stream":
        return _named(Surface.RUNTIME, endpoint, is_stream=True)
    return None
