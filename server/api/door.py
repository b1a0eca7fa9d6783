"""What a surface adds to the hot path: where the archive's name is, how to read the headers, what to answer with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from server.api.framing import Framing
from server.api.surface import Bytes, HeaderMap, RawHeaders, Surface
from server.domain.inference import Parameter
from server.domain.payload import Answer, Payload
from server.serving.address import AddressBook
from server.serving.answer_stream import Streamed

INVOCATIONS: Final = "/invocations"


@dataclass(frozen=True, slots=True)
class Route:
    """An inference request's path, taken apart. `name` is a model on KSERVE and MULTI, and an endpoint on RUNTIME."""

    surface: Surface
    name: str = ""
    version: str = ""
    is_stream: bool = False
    """The path asks for a stream of answers (InvokeEndpointWithResponseStream, generate_stream)."""
    is_generate: bool = False
    """The path asks for Triton's generate extension."""


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

    def is_stream(self, route: Route) -> bool:
        """Whether answers are streamed; the payload says so, too."""
        ...

    def payload(self, call: Call, body: Bytes) -> Payload:
        """Say how to read the inflated body, and whether answers are streamed. Raises InvalidRequest, InvalidHeader."""
        ...

    def present(self, call: Call, answer: Answer, parameters: Mapping[str, Parameter]) -> tuple[RawHeaders, Answer]:
        """Return the surface's own headers, and the answer in the surface's wrapping.

        `parameters` are what the model answered beside its outputs. Raises InferenceFailed where they cannot be said.
        """
        ...

    def stream(self, call: Call, first: Streamed | None) -> tuple[RawHeaders, Framing]:
        """Return the surface's own headers of a stream that begins with `first`, and its framing. Raises as above."""
        ...


SINGLE: Final = Route(Surface.SINGLE)


def match(path: str) -> Route | None:
    """Take the (percent-decoded) path of an inference request apart; `None` for every other path.

    Names may contain slashes, sent as they are or encoded: what counts is what stands before the last words.
    """
    if path == INVOCATIONS:
        return SINGLE
    if path.startswith("/v2/models/"):
        return _kserve(path[len("/v2/models/") :])
    if path.startswith("/models/") and path.endswith("/invoke"):
        return _named(Surface.MULTI, path[len("/models/") : -len("/invoke")])
    if path.startswith("/endpoints/"):
        return _runtime(path[len("/endpoints/") :])
    return None


def _named(surface: Surface, name: str, version: str = "", is_stream: bool = False) -> Route | None:
    return Route(surface, name, version, is_stream) if name else None


def _kserve(rest: str) -> Route | None:
    model, _, operation = rest.rpartition("/")
    if not model or operation not in _KSERVE:
        return None
    is_stream, is_generate = _KSERVE[operation]
    return Route(Surface.KSERVE, *versioned(model), is_stream, is_generate)


_KSERVE: Final = {"infer": (False, False), "generate": (False, True), "generate_stream": (True, True)}
"""Operations of a model: whether answers are streamed, and whether it is the generate extension."""


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
