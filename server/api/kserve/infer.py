"""The hot side of KServe v2: `/v2/models/<name>[/versions/<v>]/infer`, with the binary tensor extension.

`/generate` and `/generate_stream` are Triton's generate extension (`codecs/kserve/generate.py`).
"""

from collections.abc import Mapping
from typing import Final

from server.api.door import Call, Route
from server.api.framing import SSE, Framing
from server.api.surface import Bytes, RawHeaders, text
from server.domain.errors import InvalidRequest
from server.domain.inference import Parameter
from server.domain.payload import Answer, Payload
from server.serving.address import AddressBook
from server.serving.answer_stream import Streamed

JSON_SIZE: Final = b"inference-header-content-length"


class KServeDoor:
    """The path names the archive; a header says where JSON ends and tensors begin."""

    def archive(self, book: AddressBook, call: Call) -> str:
        """Say which archive is meant. Raises ArchiveNotFound for versions that are not there."""
        return book.by_version(call.route.name, call.route.version)

    def is_stream(self, route: Route) -> bool:
        """As the path says."""
        return route.is_stream

    def payload(self, call: Call, body: Bytes) -> Payload:
        """Read the body by the JSON size, or by the Content-Type where there is none. Raises InvalidRequest."""
        headers, route = call.headers, call.route
        if route.is_generate:  # always plain JSON
            return Payload(body, is_stream=route.is_stream, is_generate=True)
        size = text(headers, JSON_SIZE)
        if size and not (size.isascii() and size.isdigit()):
            raise InvalidRequest(f"Inference-Header-Content-Length is not a number of bytes: {size[:40]!r}")
        return Payload(body, text(headers, b"content-type"), text(headers, b"accept"), int(size) if size else None)

    def present(
        self,
        call: Call,  # noqa: ARG002 - the door's arguments
        answer: Answer,
        parameters: Mapping[str, Parameter],  # noqa: ARG002
    ) -> tuple[RawHeaders, Answer]:
        """Answer as the codec wrote it: it says the JSON part's size in KServe's header, too."""
        return [], answer

    def stream(self, call: Call, first: Streamed | None) -> tuple[RawHeaders, Framing]:  # noqa: ARG002
        """Send Server-Sent Events."""
        return [], SSE
