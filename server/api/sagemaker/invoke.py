"""The hot side of the SageMaker surfaces: `/invocations`, `/models/<id>/invoke` and `/endpoints/<name>/...`."""

from typing import Final

from server.api.door import Call
from server.api.sagemaker import event_stream
from server.api.sagemaker.headers import (
    INVOKED_VARIANT,
    STREAM_ACCEPT,
    STREAM_CONTENT_TYPE,
    echoed,
    payload,
    target_model,
)
from server.api.surface import Bytes, RawHeaders, text
from server.domain.payload import Answer, Payload
from server.serving.address import AddressBook

VARIANT: Final = (INVOKED_VARIANT, b"AllTraffic")


class SingleDoor:
    """`/invocations`: TargetModel names the archive; without it the default model answers."""

    def archive(self, book: AddressBook, call: Call) -> str:
        """Say which archive is meant. Raises WrongTarget where nothing says it."""
        return book.by_target(target_model(call.headers))

    def payload(self, call: Call, body: Bytes) -> Payload:
        """Read the body by its Content-Type."""
        return payload(call.headers, body)

    def present(self, call: Call, answer: Answer) -> tuple[RawHeaders, Answer]:
        """Echo the custom attributes."""
        return echoed(call.headers), answer


class MultiDoor(SingleDoor):
    """`/models/<id>/invoke`: the path names the model, and TargetModel has to agree."""

    def archive(self, book: AddressBook, call: Call) -> str:
        """Say which archive is meant. Raises WrongTarget where path and header disagree."""
        return book.by_id(call.route.name, target_model(call.headers))


class RuntimeDoor(SingleDoor):
    """`/endpoints/<name>/invocations[-response-stream]`. Any endpoint name is ours: there is one endpoint."""

    def payload(self, call: Call, body: Bytes) -> Payload:
        """Read the body by its Content-Type; of streams, `Accept` has another name."""
        if call.route.is_stream:
            return Payload(body, text(call.headers, b"content-type"), text(call.headers, STREAM_ACCEPT))
        return payload(call.headers, body)

    def present(self, call: Call, answer: Answer) -> tuple[RawHeaders, Answer]:
        """Name the variant, and frame an answer that is read as a stream."""
        own = [VARIANT, *echoed(call.headers)]
        if not call.route.is_stream:
            return own, answer
        own.append((STREAM_CONTENT_TYPE, answer.content_type.encode("latin-1")))
        return own, Answer(event_stream.framed(answer.body), event_stream.CONTENT_TYPE, answer.headers)
