"""Frames between the server and a worker process: a JSON head, and tensors as raw bytes behind it. No pickle.

Each tensor lies at a multiple of 64 bytes, so the receiver uses it where it is, without another copy. Shared memory
was measured and left out: an anonymous memory file per tensor took three times as long as the socket (12 MB there and
back: 21 ms against 7 ms), since its pages are new to both sides each time.
"""

import json
import select
import socket
import struct
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from server.domain.inference import NUMPY_BY_DATATYPE, Array, Tensor
from server.engines.embedded.python_steps.tensors import deserialize_bytes_tensor, pack_strings

_PREFIX: Final = struct.Struct("<QI")  # bytes of the body, bytes of its JSON
_ALIGNMENT: Final = 64
_PIECES_PER_CALL: Final = 256


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: `head` says what it is (`kind`), `tensors` are its arrays, writable and the receiver's own."""

    head: dict[str, Any]
    tensors: tuple[Tensor, ...] = ()

    @property
    def kind(self) -> str:
        """What the message is."""
        return str(self.head["kind"])


class ConnectionLost(Exception):
    """The other side is gone."""


class Connection:
    """Frames over a connected stream socket. Sending is safe from several threads; receiving is one thread's."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._prefix = bytearray(_PREFIX.size)

    def send(self, kind: str, head: dict[str, Any] | None = None, tensors: Iterable[Tensor] = ()) -> None:
        """Send one frame. Raises ConnectionLost, and TimeoutError if a limit was set with `limit`."""
        pieces = _encode({**(head or {}), "kind": kind}, tensors)
        try:
            with self._sending:
                while pieces:
                    sent = self._socket.sendmsg(pieces[:_PIECES_PER_CALL])
                    while pieces and sent >= pieces[0].nbytes:
                        sent -= pieces.pop(0).nbytes
                    if sent:
                        pieces[0] = pieces[0][sent:]
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLost from error

    def receive(self) -> Frame:
        """Wait for one frame. Raises ConnectionLost, and TimeoutError if a limit was set with `limit`."""
        try:
            self._fill(memoryview(self._prefix))
            body_size, json_size = _PREFIX.unpack(self._prefix)
            body = np.empty(body_size, np.uint8)
            self._fill(body.data)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLost from error
        return _decode(body, json_size)

    def _fill(self, target: memoryview) -> None:
        while target:
            count = self._socket.recv_into(target)
            if not count:
                raise ConnectionLost
            target = target[count:]

    def has_frame(self) -> bool:
        """Whether something waits to be received, the end included."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def limit(self, timeout_s: float | None) -> None:
        """Let `receive` and `send` give up after so many seconds without progress; None waits for ever."""
        self._socket.settimeout(timeout_s)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _encode(head: dict[str, Any], tensors: Iterable[Tensor]) -> list[memoryview]:
    """The pieces of a frame, none of them empty. Arrays are not copied, unless they are not contiguous."""
    payload = [(tensor, _bytes_of(tensor)) for tensor in tensors]
    if payload:
        head["tensors"] = [(tensor.name, tensor.datatype, tensor.shape, data.nbytes) for tensor, data in payload]
    text = json.dumps(head).encode()
    pieces: list[bytes | memoryview] = [text]
    size = len(text)
    for _, data in payload:
        gap = -size % _ALIGNMENT
        pieces += (bytes(gap), data)
        size += gap + data.nbytes
    views = [memoryview(_PREFIX.pack(size, len(text))), *[memoryview(piece) for piece in pieces]]
    return [view for view in views if view.nbytes]


def _bytes_of(tensor: Tensor) -> memoryview:
    if tensor.datatype == "BYTES":
        return memoryview(pack_strings(tensor.data))
    # Through uint8, since memoryview knows no float16 and casts no shapes with a zero.
    return np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8).data


def _decode(body: Array, json_size: int) -> Frame:
    head = json.loads(body[:json_size].tobytes())
    offset = json_size
    tensors: list[Tensor] = []
    for name, datatype, shape, size in head.pop("tensors", ()):
        offset += -offset % _ALIGNMENT
        tensors.append(_tensor(name, datatype, shape, body[offset : offset + size]))
        offset += size
    return Frame(head, tuple(tensors))


def _tensor(name: str, datatype: str, shape: Sequence[int], data: Array) -> Tensor:
    if datatype == "BYTES":
        return Tensor(name, datatype, deserialize_bytes_tensor(data.data).reshape(shape))
    return Tensor(name, datatype, data.view(NUMPY_BY_DATATYPE[datatype]).reshape(shape))
