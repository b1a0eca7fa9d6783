"""BYTES tensors on the wire: each element is a 4-byte little-endian length and that many bytes."""

from struct import Struct
from typing import Final

import numpy as np

from server.domain.errors import InvalidRequest
from server.domain.inference import Array

_LENGTH: Final = Struct("<I")
_PREFIX: Final = _LENGTH.size


def object_array(elements: list[bytes], shape: tuple[int, ...]) -> Array:
    """Make a BYTES array. Raises ValueError where the count does not fit the shape."""
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array.reshape(shape)


def parse(raw: bytes, count: int, name: str) -> list[bytes]:
    """Split exactly `count` elements out of `raw`; nothing is read beyond its end.

    Raises:
        InvalidRequest: an element is cut off, or there are fewer or more than `count`.
    """
    elements: list[bytes] = []
    position, end = 0, len(raw)
    unpack = _LENGTH.unpack_from
    while position + _PREFIX <= end:
        start = position + _PREFIX
        position = start + unpack(raw, position)[0]
        elements.append(raw[start:position])
    if position != end:
        cut = len(elements) - (1 if position > end else 0)
        raise InvalidRequest(f"BYTES input '{name}' is cut off: element {cut} does not fit into its {end} bytes")
    if len(elements) != count:
        raise InvalidRequest(f"BYTES input '{name}' has {len(elements)} elements, but its shape asks for {count}")
    return elements


def serialise(array: Array) -> bytes:
    """Write the elements in row-major order, each behind its length."""
    pack = _LENGTH.pack
    pieces: list[bytes] = []
    for element in array.ravel().tolist():
        pieces += (pack(len(element)), element)
    return b"".join(pieces)
