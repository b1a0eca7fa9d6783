"""Inference and health over HTTP, on a pool of keep-alive connections."""

from collections.abc import Hashable, Sequence
from typing import Final

import orjson

from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.payload import Framed, FramedAnswer
from server.engines.triton.process.flags import LOOPBACK
from server.engines.triton.wire.binary_tensors import (
    Piece,
    decode_response,
    encode_request,
    encode_tensor,
    framed_answer,
)
from server.engines.triton.wire.connection import HttpAnswer
from server.engines.triton.wire.connection_pool import ConnectionPool
from server.engines.triton.wire.errors import Refused, ServerGone

_MOST_STARTS: Final = 1024
"""Beginnings of requests that are kept, some hundred bytes each."""


class HttpClient:
    """Speaks to one tritonserver on loopback. Safe for many requests at once."""

    def __init__(self, port: int, connections: int) -> None:
        self._pool = ConnectionPool(LOOPBACK, port, connections)
        self._starts: dict[Hashable, bytes] = {}
        self._host = f"Host: {LOOPBACK}:{port}\r\n".encode()

    async def infer(self, model: str, request: InferenceRequest) -> InferenceResponse:
        """Run one request.

        Raises:
            Refused: Triton answered with an error.
            ServerGone: the connection broke.
        """
        start, pieces = self._request(model, request)
        answer = await self._pool.exchange(start, pieces)
        if answer.status != 200:
            raise Refused(answer.status, error_text(answer))
        return decode_response(answer.body, answer.head_bytes)

    async def pass_on(self, model: str, request: Framed) -> FramedAnswer:
        """Run one request as it came. Raises as `infer`."""
        start, pieces = self._written(model, request.head, (request.tail,))
        answer = await self._pool.exchange(start, pieces)
        if answer.status != 200:
            raise Refused(answer.status, error_text(answer))
        return framed_answer(answer.body, answer.head_bytes)

    def _request(self, model: str, request: InferenceRequest) -> tuple[bytes, Sequence[Piece]]:
        """All of a request but its tensors, and those. It depends on their sizes only, in the usual case."""
        if request.id or request.parameters:
            return self._written(model, *encode_request(request))
        pieces = [encode_tensor(tensor) for tensor in request.inputs.values()]
        sizes = tuple(map(len, pieces))
        edges = tuple([(each.name, each.datatype, each.data.shape) for each in request.inputs.values()])
        key = (model, edges, sizes, request.outputs)
        start = self._starts.get(key)
        if start is None:
            start, _ = self._written(model, *encode_request(request))
            if len(self._starts) >= _MOST_STARTS:
                self._starts.clear()
            self._starts[key] = start
        return start, pieces

    def _written(self, model: str, head: bytes, pieces: Sequence[Piece]) -> tuple[bytes, Sequence[Piece]]:
        length = len(head) + sum(map(len, pieces))
        start = (
            b"POST /v2/models/%b/infer HTTP/1.1\r\n%bContent-Length: %d\r\n"
            b"Inference-Header-Content-Length: %d\r\n\r\n%b"
        ) % (model.encode(), self._host, length, len(head), head)
        return start, pieces

    async def is_ready(self) -> bool:
        """Whether the server answers that it is ready."""
        try:
            answer = await self._pool.exchange(b"GET /v2/health/ready HTTP/1.1\r\n" + self._host + b"\r\n", ())
        except ServerGone:
            return False
        return answer.status == 200

    async def version(self) -> str:
        """The server's version. Raises Refused, ServerGone."""
        answer = await self._pool.exchange(b"GET /v2 HTTP/1.1\r\n" + self._host + b"\r\n", ())
        if answer.status != 200:
            raise Refused(answer.status, error_text(answer))
        return str(orjson.loads(answer.body)["version"])

    async def states(self) -> dict[str, str]:
        """State of every model Triton knows: READY, LOADING, UNLOADING, UNAVAILABLE. Raises Refused, ServerGone."""
        start = b"POST /v2/repository/index HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n{}"
        answer = await self._pool.exchange(start % self._host, ())
        if answer.status != 200:
            raise Refused(answer.status, error_text(answer))
        return {entry["name"]: entry.get("state", "UNAVAILABLE") for entry in orjson.loads(answer.body)}

    def close(self) -> None:
        """Drop all connections; requests under way fail with ServerGone."""
        self._pool.close()


def error_text(answer: HttpAnswer) -> str:
    """What an error answer says."""
    try:
        return str(orjson.loads(answer.body)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.body[:500].decode("utf-8", "replace") or f"status {answer.status} without a message"
