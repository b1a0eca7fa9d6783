"""The event stream framing, read back by botocore's own parser."""

import pytest
from botocore.eventstream import EventStreamBuffer

from server.api.sagemaker import event_stream


def parsed(body):
    buffer = EventStreamBuffer()
    for piece in body:
        buffer.add_data(bytes(piece))
    return list(buffer)


@pytest.mark.parametrize("size", [0, 1, event_stream.PART_BYTES, event_stream.PART_BYTES + 1])
def test_botocore_reads_back_what_was_framed(size):
    payload = b"x" * size
    events = parsed(event_stream.framed((payload,)))
    assert payload == b"".join(event.payload for event in events)
    assert all(event.headers[":event-type"] == "PayloadPart" for event in events)


def test_pieces_become_frames_of_their_own():
    events = parsed(event_stream.framed((b"ab", memoryview(b"cd"))))
    assert [event.payload for event in events] == [b"ab", b"cd"]
