"""Bodies are read once and within limits."""

import pytest

from server.api.body import ClientGone, read_body
from server.domain.errors import PayloadTooLarge


def sender(*messages):
    waiting = list(messages)

    async def receive():
        return waiting.pop(0)

    return receive


def chunk(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_one_piece_is_not_copied():
    body = b"abc"
    assert body is await read_body(sender(chunk(body)), {b"content-length": b"3"}, 10)


async def test_chunks_are_put_together():
    assert await read_body(sender(chunk(b"ab", more=True), chunk(b"cd")), {}, 4) == b"abcd"


async def test_a_declared_length_over_the_limit_is_refused_without_reading():
    with pytest.raises(PayloadTooLarge):
        await read_body(sender(), {b"content-length": b"11"}, 10)


async def test_chunks_over_the_limit_are_refused():
    with pytest.raises(PayloadTooLarge):
        await read_body(sender(chunk(b"abc", more=True), chunk(b"de", more=True)), {}, 4)


async def test_a_client_that_leaves_while_sending_is_not_answered():
    with pytest.raises(ClientGone):
        await read_body(sender(chunk(b"ab", more=True), {"type": "http.disconnect"}), {}, 4)
