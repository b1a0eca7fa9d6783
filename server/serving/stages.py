"""What a single answer and a stream of answers have in common: the request's time, decoding and encoding."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

from server.domain.clock import Clock
from server.domain.inference import InferenceResponse
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Decoded, Payload

Decode: TypeAlias = Callable[[Payload, StagedArchive], Decoded]

OFFLOAD_BYTES: Final = 1 << 20
"""Bodies from here on are decoded in a thread: a megabyte of text takes milliseconds, in which no ping is answered."""


class RequestTime:
    """The time of one request, in seconds. `patience_s`: for so long it can wait rather than disturb others."""

    __slots__ = ("_started", "allowed_s", "clock", "patience_s")

    def __init__(self, clock: Clock, allowed_s: float, patience_s: float = 0.0) -> None:
        self.clock = clock
        self._started = clock.now()
        self.allowed_s = allowed_s
        self.patience_s = patience_s

    def taken_s(self) -> float:
        """Since its admission."""
        return self.clock.now() - self._started

    def left_s(self) -> float:
        """Until it has to be answered; negative when that is over."""
        return self.allowed_s - self.taken_s()


async def decoded(decode: Decode, payload: Payload, archive: StagedArchive) -> Decoded:
    """Read a payload; a large one in a thread. Raises as `decode`."""
    if len(payload.body) < OFFLOAD_BYTES:
        return decode(payload, archive)
    return await asyncio.to_thread(decode, payload, archive)


async def encoded(asked: Decoded, response: InferenceResponse, model_name: str) -> Answer:
    """Write an answer; a large one in a thread. Raises as `Decoded.encode`."""
    size = 0
    for tensor in response.outputs:  # a generator costs more than the loop
        size += tensor.data.nbytes
    if size < OFFLOAD_BYTES:
        return asked.encode(response, model_name)
    return await asyncio.to_thread(asked.encode, response, model_name)
