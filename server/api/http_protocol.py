"""uvicorn's HTTP protocol with a limit on what a request may send before its headers end.

httptools collects a header until it is complete, however long it gets, and uvicorn sets no bound: a client could fill
the memory without ever sending a request.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 1 << 16
"""Request line and headers; what other servers allow is 8 to 64 KiB. Counted per read, so somewhat more may pass."""

_REFUSAL: Final = b'{"error":"the request line and the headers are larger than %d bytes"}' % MAX_HEAD_BYTES
_ANSWER: Final = b"\r\n".join(
    (
        b"HTTP/1.1 431 Request Header Fields Too Large",
        b"content-type: application/json",
        b"content-length: %d" % len(_REFUSAL),
        b"connection: close",
        b"",
        _REFUSAL,
    )
)


class BoundedHeads(HttpToolsProtocol):
    """Answers 431 and closes the connection where a request's head is too large. For `uvicorn.Config(http=...)`."""

    _head_bytes = 0
    _is_in_head = True

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; count it as long as no head is complete."""
        super().data_received(data)
        if not self._is_in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_ANSWER)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A new request: its head begins."""
        self._is_in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete, whatever follows is body."""
        self._is_in_head = False
        super().on_headers_complete()
