"""Content-Encoding: bodies inflated up to a limit, answers deflated where that pays.

gzip (several members too) and deflate (zlib's, and the raw form that some clients send under that name). The limit
counts what comes out, while it comes out, so that a bomb costs no more than the limit.
"""

import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from server.codecs.http import media_type
from server.domain.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from server.domain.payload import Body

WORTH_COMPRESSING_BYTES: Final = 1024
"""Shorter answers are sent as they are: a packet is a packet."""

_WINDOW_BY_ENCODING: Final[Mapping[str, int]] = MappingProxyType({"gzip": 31, "x-gzip": 31, "deflate": 15})
_RAW_DEFLATE: Final = -15
_LEVEL: Final = 1  # tensors hardly compress; speed counts
_CHUNK: Final = 16 * 1024  # bounds what is copied again at the start of each gzip member
_MOST_MEMBERS: Final = 10_000
_MOST_ENCODINGS: Final = 3


def inflate(body: bytes | memoryview, encoding: str, limit: int) -> bytes | memoryview:
    """Undo a Content-Encoding header's codings; the result has at most `limit` bytes. Identity costs nothing.

    Raises:
        PayloadTooLarge: more than `limit` bytes come out.
        InvalidRequest: the stream is broken or cut off.
        UnsupportedMediaType: an unknown coding.
    """
    codings = [
        coding for coding in (part.strip().lower() for part in encoding.split(",")) if coding not in ("", "identity")
    ]
    if len(codings) > _MOST_ENCODINGS:
        raise UnsupportedMediaType(f"Content-Encoding {encoding!r} names more than {_MOST_ENCODINGS} codings")
    for coding in reversed(codings):
        if coding not in _WINDOW_BY_ENCODING:
            raise UnsupportedMediaType(f"Content-Encoding {encoding!r} is not read; use gzip, deflate or none")
        body = _inflate(memoryview(body), coding, limit)
    if len(body) > limit:
        raise PayloadTooLarge(limit)
    return body


def pick(accept_encoding: str, size: int) -> str:
    """Choose the coding of an answer of `size` bytes by the request's Accept-Encoding; empty: none."""
    if size < WORTH_COMPRESSING_BYTES or not accept_encoding:
        return ""
    wanted = media_type.accepted(accept_encoding)
    for coding in wanted:
        if coding in _WINDOW_BY_ENCODING:
            return "deflate" if coding == "deflate" else "gzip"
        if coding == "identity":
            return ""
    return ""


def deflate(body: Body, encoding: str) -> bytes:
    """Compress the pieces of an answer into one, with a coding that `pick` gave."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BY_ENCODING[encoding])
    return b"".join([*(compressor.compress(piece) for piece in body), compressor.flush()])


def _inflate(body: memoryview, coding: str, limit: int) -> bytes:
    window = _WINDOW_BY_ENCODING[coding]
    if coding == "deflate" and not _has_zlib_header(body):
        window = _RAW_DEFLATE
    stream = zlib.decompressobj(window)
    pieces: list[bytes] = []
    room, members = limit, 1
    for start in range(0, len(body), _CHUNK):
        fresh: bytes | memoryview = body[start : start + _CHUNK]
        while fresh:
            if stream.eof:
                if not bytes(fresh).strip(b"\0"):
                    break  # padding, as tape archives have it
                members += 1
                if coding == "deflate" or members > _MOST_MEMBERS:
                    raise InvalidRequest(f"there is something behind the end of the {coding} stream")
                stream = zlib.decompressobj(window)
            pieces.append(_step(stream, fresh, room + 1, coding))
            room -= len(pieces[-1])
            if room < 0:
                raise PayloadTooLarge(limit)
            fresh = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not stream.eof:
        raise InvalidRequest(f"the {coding} stream is cut off")
    return b"".join(pieces)


def _step(stream: "zlib._Decompress", fresh: bytes | memoryview, most: int, coding: str) -> bytes:
    try:
        return stream.decompress(fresh, most)
    except zlib.error as error:
        raise InvalidRequest(f"the {coding} stream is broken: {error}") from error


def _has_zlib_header(body: memoryview) -> bool:
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
