"""`remembered_answers` for coroutines: the engine's own requests wait for an instance before they take a thread."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import StepDigest
from server.engines.embedded.answers.remembered_answers import End, RememberedAnswers
from server.engines.embedded.answers.request_digest import read_only, request_digest, size_bytes
from server.engines.embedded.running.workers import Workers

_DIGESTED_HERE_BYTES: Final = 1 << 16
"""Takes 60 us; a hop to a thread and back takes about as long."""


async def answer_for(
    answers: RememberedAnswers,
    step: StepDigest,
    request: InferenceRequest,
    workers: Workers,
    begin: Callable[[], Awaitable[None]],
    execute: Callable[[], InferenceResponse],
) -> InferenceResponse:
    """Answer from memory, from a flight, or by `begin` (waits for an instance) and then `execute` on a thread.

    A cancelled request leaves its flight; what runs already runs on, for those who follow. Raises what both raise.
    """
    if size_bytes(request.inputs.values()) > _DIGESTED_HERE_BYTES:
        key = await workers.call(partial(request_digest, request))
    else:
        key = request_digest(request)
    while True:
        found = answers.enter(step, key)
        if isinstance(found, InferenceResponse):
            return found
        if found.is_leader:
            try:
                await begin()
            except BaseException:
                answers.land(found, End.ABANDONED)
                raise
            return await workers.call(partial(answers.lead, found, execute))
        outcome = await asyncio.shield(asyncio.wrap_future(found.landed))
        if isinstance(outcome, InferenceResponse):
            answers.followed()
            return outcome
        if outcome is End.FAILED:
            await begin()
            return read_only(await workers.call(execute))
