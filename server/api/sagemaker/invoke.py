"""The hot side of the SageMaker surfaces: `/invocations`, `/models/<id>/invoke` and `/endpoints/<name>/...`.

What `/invocations` means can be set (Triton's SAGEMAKER_TRITON_INFERENCE_TYPE): to infer, or the generate extension
with one answer or with a stream of Server-Sent Events. The runtime's endpoints follow, because SageMaker's runtime
passes on what the container says; `/models/<id>/invoke` always infers.
"""

from collections.abc import Mapping
from typing import ClassVar

from server.api.door import Call, Route
from server.api.framing import SSE, Framing
from server.api.sagemaker import sessions
from server.api.sagemaker.event_stream import EventStream
from server.api.sagemaker.headers import (
    CUSTOM_ATTRIBUTES,
    INVOKED_VARIANT,
    STREAM_ACCEPT,
    STREAM_CONTENT_TYPE,
    for_model,
    target_model,
)
from server.api.surface import Bytes, RawHeaders, text
from server.domain.clock import Clock
from server.domain.inference import Parameter
from server.domain.payload import Answer, InferenceType, Payload
from server.serving.address import AddressBook
from server.serving.answer_stream import Streamed


class SingleDoor:
    """`/invocations`: TargetModel names the archive; without it the default model answers."""

    _always: ClassVar[tuple[tuple[bytes, bytes], ...]] = ()
    """Headers of every answer."""

    def __init__(self, clock: Clock, inference_type: InferenceType = "infer") -> None:
        self._clock = clock
        self._is_generate = inference_type != "infer"
        self._is_stream = inference_type == "generate_stream"

    def archive(self, book: AddressBook, call: Call) -> str:
        """Say which archive is meant. Raises WrongTarget where nothing says it."""
        return book.by_target(target_model(call.headers))

    def is_stream(self, route: Route) -> bool:
        """As the path or the settings say."""
        return route.is_stream or self._is_stream

    def payload(self, call: Call, body: Bytes) -> Payload:
        """Read the body by its Content-Type, which says how long a binary request's JSON is. Raises InvalidHeader."""
        headers = call.headers
        return Payload(
            body,
            text(headers, b"content-type"),
            text(headers, b"accept"),
            None,
            self._is_stream,
            self._is_generate,
            for_model(headers),
        )

    def present(self, call: Call, answer: Answer, parameters: Mapping[str, Parameter]) -> tuple[RawHeaders, Answer]:
        """Echo the custom attributes, and tell of sessions."""
        return self._own(call, parameters), answer

    def stream(self, call: Call, first: Streamed | None) -> tuple[RawHeaders, Framing]:
        """Send Server-Sent Events."""
        return self._own(call, first.parameters if first else {}), SSE

    def _own(self, call: Call, parameters: Mapping[str, Parameter]) -> RawHeaders:
        own = [*self._always]
        attributes = call.headers.get(CUSTOM_ATTRIBUTES)
        if attributes is not None:
            own.append((CUSTOM_ATTRIBUTES, attributes))
        if parameters:
            own += sessions.headers_of(parameters, self._clock)
        return own


class MultiDoor(SingleDoor):
    """`/models/<id>/invoke`: the path names the model, and TargetModel has to agree."""

    def archive(self, book: AddressBook, call: Call) -> str:
        """Say which archive is meant. Raises WrongTarget where path and header disagree."""
        return book.by_id(call.route.name, target_model(call.headers))


class RuntimeDoor(SingleDoor):
    """`/endpoints/<name>/invocations[-response-stream]`. Any endpoint name is ours: there is one endpoint."""

    _always = ((INVOKED_VARIANT, b"AllTraffic"),)

    def payload(self, call: Call, body: Bytes) -> Payload:
        """Read the body by its Content-Type; of streams, `Accept` has another name. Raises InvalidHeader."""
        if not call.route.is_stream:
            return super().payload(call, body)
        headers = call.headers
        return Payload(
            body,
            text(headers, b"content-type"),
            text(headers, STREAM_ACCEPT),
            is_stream=True,
            is_generate=self._is_generate,
            parameters=for_model(headers, is_new_session_allowed=False),
        )

    def stream(self, call: Call, first: Streamed | None) -> tuple[RawHeaders, Framing]:
        """Send an event stream, of Server-Sent Events where `/invocations` is one; or these alone."""
        own, events = super().stream(call, first)
        if not call.route.is_stream:
            return own, events
        inner = events if self._is_stream else None
        kind = events.content_type if inner else first.answer.content_type.encode("latin-1") if first else b""
        if kind:
            own.append((STREAM_CONTENT_TYPE, kind))
        return own, EventStream(inner)
