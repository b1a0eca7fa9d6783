"""JSON documents with whole arrays in them, as clients write `array.tolist()`: `{"image": [[[255, 0, 12], ...]], ...}`.

A picture of half a million pixels is millions of numbers and brackets, which the usual parser makes a Python object of
each. Here the text of each large list is cut out and read in one go, as `number_lists/large_lists.py` does it for
KServe's `data`; but here the nesting is the array's shape. What is not plain is left to the usual parser, errors
included.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from server.codecs.kserve import kserve_json
from server.codecs.number_lists import large_lists
from server.domain.errors import InvalidRequest
from server.domain.inference import Array

_MARK: Final = "array"


def load(body: bytes | memoryview, keys: Sequence[str]) -> Any:
    """Parse a document; large lists of numbers that are its values under `keys`, or the whole of it, become arrays.

    An array is uint8 or int64 where all its numbers are integers from 0 up, else float64. KServe requests are read as
    usual.

    Raises:
        InvalidRequest: it is not JSON.
    """
    if len(body) >= large_lists.WORTH_BYTES:
        document = _with_arrays(bytes(body), keys)
        if document is not None:
            return document
    return kserve_json.load(body)


def _with_arrays(body: bytes, keys: Sequence[str]) -> Any:
    text = body.strip()
    if text.startswith(b"["):
        return large_lists.nested(text)
    # An unescaped `"image"` cannot lie inside of a string, and with a colon behind it, it is a key.
    pattern = re.compile(rb'"(?:%b)"[ \t\r\n]*:[ \t\r\n]*(?=\[)' % b"|".join(re.escape(key.encode()) for key in keys))
    pieces: list[bytes] = []
    arrays: list[Array] = []
    position = 0
    found = pattern.search(body)
    while found is not None:
        start, end = found.end(), _end_of_list(body, found.end())
        if end - start >= large_lists.WORTH_BYTES:
            array = large_lists.nested(body[start:end])
            if array is None:
                return None
            pieces += (body[position:start], b'{"%b":%d}' % (_MARK.encode(), len(arrays)))
            arrays.append(array)
            position = end
        found = pattern.search(body, max(end, start))
    if not arrays:
        return None
    try:
        document = orjson.loads(b"".join((*pieces, body[position:])))
    except orjson.JSONDecodeError:
        return None
    return document if _put_back(document, arrays, keys) else None


def _end_of_list(body: bytes, start: int) -> int:
    """Behind the last bracket before the next string or end of an object: a list of numbers has neither inside."""
    quote = body.find(b'"', start)
    end = quote if quote != -1 else len(body)
    brace = body.find(b"}", start, end)  # not further: a body of nothing but keys must not be read once for each
    return body.rfind(b"]", start, brace if brace != -1 else end) + 1


def _put_back(document: Any, arrays: list[Array], keys: Sequence[str]) -> bool:
    """Replace the marks at the top of the document; False where they are not exactly there, each once."""
    if not isinstance(document, dict):
        return False
    marked = {key: document[key] for key in keys if isinstance(document.get(key), dict)}
    if sorted(map(repr, marked.values())) != sorted(repr({_MARK: index}) for index in range(len(arrays))):
        return False
    for key, mark in marked.items():
        document[key] = arrays[mark[_MARK]]
    return True


def array_of(value: object, what: str) -> Array:
    """A value of a document as an array of numbers: what `load` made already, or a (nested) list.

    Raises:
        InvalidRequest: not a list, ragged, or something in it is not a number.
    """
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, list):
        raise InvalidRequest(f"{what} must be a list of numbers")
    try:
        array: Array = np.array(value)
    except ValueError as error:
        raise InvalidRequest(f"{what} must be a list of numbers whose rows are equally long") from error
    if array.dtype.kind not in "iuf":
        raise InvalidRequest(f"{what} must hold numbers only")
    return array
