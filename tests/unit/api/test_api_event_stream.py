"""The event stream framing, read back by botocore's own parser."""

import json

import pytest
from botocore.eventstream import EventStreamBuffer

from server.api.framing import SSE
from server.api.sagemaker.event_stream import PART_BYTES, EventStream
from server.domain.errors import Bug, DeadlineExceeded, InferenceFailed
from server.domain.payload import Answer


def parsed(pieces):
    buffer = EventStreamBuffer()
    for piece in pieces:
        buffer.add_data(bytes(piece))
    return list(buffer)


@pytest.mark.parametrize(
    ("size", "frames"), [(0, 1), (1, 1), (PART_BYTES, 1), (PART_BYTES + 1, 2)], ids=["none", "one", "full", "over"]
)
def test_a_response_is_one_part_unless_it_is_large(size, frames):
    payload = b"x" * size
    events = parsed(EventStream().part(Answer((payload,), "text/plain")))
    assert payload == b"".join(event.payload for event in events)
    assert [event.headers[":event-type"] for event in events] == ["PayloadPart"] * frames


def test_pieces_of_one_response_become_one_part():
    [event] = parsed(EventStream().part(Answer((b"ab", memoryview(b"cd")), "text/plain")))
    assert event.payload == b"abcd"


def test_events_may_lie_in_parts():
    [event] = parsed(EventStream(SSE).part(Answer((b"{}",), "application/json")))
    assert event.payload == b"data: {}\n\n"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (InferenceFailed("it said no"), "ModelStreamError", "StreamBroken"),
        (DeadlineExceeded(60.0), "ModelStreamError", "ModelInvocationTimeExceeded"),
        (Bug("broken"), "InternalStreamFailure", None),
    ],
)
def test_errors_become_the_modelled_exceptions(error, kind, code):
    [event] = parsed(EventStream().failure(error))
    assert (event.headers[":message-type"], event.headers[":exception-type"]) == ("exception", kind)
    document = json.loads(event.payload)
    assert (document["Message"], document.get("ErrorCode")) == (str(error), code)
