"""Answers of one request as they come. Nothing is sent before the first is there, so that errors get their status.

After it the status has gone out: an error then becomes the surface's last event. A client that leaves ends the block
of `Dispatcher.stream`, which cancels the model.
"""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

from starlette.types import Receive, Send

from server.api import request_context
from server.api.disconnect import ClientWatch
from server.api.door import Call, Door
from server.api.errors import as_known
from server.api.server_timing import server_timing
from server.api.surface import LOAD_MS, WARMTH
from server.domain.errors import Bug
from server.serving.answer_stream import AnswerStream


async def send_stream(
    opening: AbstractAsyncContextManager[AnswerStream], door: Door, call: Call, receive: Receive, send: Send, path: str
) -> None:
    """Answer a request as the stream that `Dispatcher.stream` gave.

    Raises:
        ClientGone: it went away.
        As `Dispatcher.stream`, as long as nothing was sent.
    """
    with ClientWatch(receive):
        async with opening as answers:
            await _send_all(answers, door, call, send, path)
    await send({"type": "http.response.body", "body": b""})
    request_context.note_answer(path, 200, answers.name, answers.warmth)


async def _send_all(answers: AnswerStream, door: Door, call: Call, send: Send, path: str) -> None:
    own, framing = door.stream(call, answers.first)
    own += (
        (b"content-type", framing.content_type),
        (WARMTH, answers.warmth.encode()),
        (LOAD_MS, b"%.3f" % (answers.load_s * 1000)),
        *request_context.headers_now(call.route.surface),
    )
    if answers.cold_start is not None:
        own.append(server_timing(answers.cold_start, answers.waited_s, answers.infer_s))
    await send({"type": "http.response.start", "status": 200, "headers": own})
    try:
        async for streamed in answers:
            await _send(send, framing.part(streamed.answer))
    except Exception as error:
        known = as_known(error)
        request_context.note_error(path, 200, error, isinstance(known, Bug))
        await _send(send, framing.failure(known))


async def _send(send: Send, pieces: Iterable[bytes | memoryview]) -> None:
    await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
