"""Large lists of numbers in a JSON document, read without making a Python object per number and per bracket.

An image sent as `data: image.tolist()` is a million numbers in hundreds of thousands of lists; parsing those the
usual way takes ten times as long as the inference. Here the text of each large `data` is cut out, its structure is
checked as a whole, its brackets are dropped (a tensor's nesting says nothing that its shape does not), and the numbers
are parsed in one go. Everything that is not plainly a list of numbers is left to the usual parser, errors included.
"""

import re
from typing import Any, Final

import numpy as np
import orjson

from server.domain.inference import Array

WORTH_BYTES: Final = 1 << 15
"""Shorter documents, and shorter lists, are parsed the usual way."""

# An unescaped `"data"` cannot lie inside of a string, and with a colon behind it, it is a key.
_KEY: Final = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
_MARK: Final = "large list"
_DEEPEST: Final = 32  # axes of a numpy array
_LARGEST: Final = 10**18  # beyond, the number parser saturates

_OTHER, _NUMBER, _COMMA, _BLANK, _OPEN, _CLOSE, _KINDS = range(7)


def _kinds() -> Array:
    kinds = np.full(256, _OTHER, np.uint8)
    for characters, kind in (
        (b"0123456789+-.eE", _NUMBER),
        (b",", _COMMA),
        (b" ", _BLANK),
        (b"[", _OPEN),
        (b"]", _CLOSE),
    ):
        kinds[list(characters)] = kind
    return kinds


def _followers() -> Array:
    """Which kind of character may follow which, at index `first * _KINDS + second`. Empty lists are not for here."""
    legal = np.zeros((_KINDS, _KINDS), np.bool_)
    legal[_NUMBER, [_NUMBER, _COMMA, _CLOSE]] = True
    legal[_COMMA, [_NUMBER, _BLANK, _OPEN]] = True
    legal[_BLANK, [_NUMBER, _OPEN]] = True
    legal[_OPEN, [_NUMBER, _OPEN]] = True
    legal[_CLOSE, [_COMMA, _CLOSE]] = True
    return legal.ravel()


# As tables of `bytes.translate`, which is several times as fast as indexing with an array.
_KIND_BY_BYTE: Final = _kinds().tobytes()
_LEGAL_PAIRS: Final = bytes(np.flatnonzero(_followers()).astype(np.uint8))


def load(body: bytes) -> Any:
    """Parse a document whose inputs have large lists as `data`: those come back flat, as lists or int64 arrays.

    Gives None where there is nothing to gain, or something is not plain: then the usual parser decides.
    """
    pieces: list[bytes] = []
    lists: list[Array | list[Any]] = []
    position = 0
    for start, text in _large_lists(body):
        numbers = _numbers(text)
        if numbers is None:
            return None
        pieces += (body[position:start], b'{"%b":%d}' % (_MARK.encode(), len(lists)))
        lists.append(numbers)
        position = start + len(text)
    if not lists:
        return None
    try:
        document = orjson.loads(b"".join((*pieces, body[position:])))
    except orjson.JSONDecodeError:
        return None
    return document if _put_back(document, lists) else None


def nested(text: bytes) -> Array | None:
    """Read a nested list of numbers as an array of its shape: int64 where all are integers from 0 up, else float64.

    Gives None where it is ragged, empty, or not plainly a list of numbers.
    """
    numbers = _numbers(text) if text.startswith(b"[") else None
    shape = None if numbers is None else _shape(text)
    if numbers is None or shape is None:
        return None
    array = numbers if isinstance(numbers, np.ndarray) else np.array(numbers, dtype=np.float64)
    return array.reshape(shape)


def _shape(text: bytes) -> tuple[int, ...] | None:
    """The shape of a list that `_numbers` takes; None where lists of one depth differ in length.

    The first list of each depth says how all of them must look, and what the brackets and commas of the whole then are.
    """
    marks = text.translate(None, b"0123456789+-.eE ")
    depth = len(marks) - len(marks.lstrip(b"["))
    if depth > _DEEPEST:
        return None
    expected = b""
    dims: list[int] = []
    for level in range(1, depth + 1):
        end = marks.find(b"]" * level) + level  # of the first list that holds lists `level - 1` deep
        commas = end - (depth - level) - 2 if level == 1 else (end - (depth - level) - 1) // (len(expected) + 1) - 1
        if commas < 0:
            return None
        expected = b"[" + (expected + b",") * commas + expected + b"]"
        dims.insert(0, commas + 1)
    return tuple(dims) if expected == marks else None


def _large_lists(body: bytes) -> list[tuple[int, bytes]]:
    """Where each large `data` starts, and its text up to the last bracket before the next string or end of object."""
    found = []
    key = _KEY.search(body)
    while key is not None:
        start = key.end()
        quote = body.find(b'"', start)
        brace = body.find(b"}", start, quote if quote != -1 else len(body))
        end = max(quote, brace) if -1 in (quote, brace) else brace
        text = body[start:end].rstrip(b", \t\r\n") if end != -1 else b""
        if len(text) >= WORTH_BYTES:
            found.append((start, text))
        key = _KEY.search(body, start + len(text))
    return found


def _numbers(text: bytes) -> Array | list[Any] | None:
    kinds = np.frombuffer(text.translate(_KIND_BY_BYTE), np.uint8)
    pairs = kinds[:-1] * np.uint8(_KINDS) + kinds[1:]
    if kinds[-1] != _CLOSE or pairs.tobytes().translate(None, _LEGAL_PAIRS):
        return None
    brackets = kinds[kinds >= _OPEN]
    depths = np.cumsum(np.where(brackets == _OPEN, 1, -1))
    if depths[-1] != 0 or not depths[:-1].all():
        return None
    flat = text.translate(None, b"[] ")
    if flat.translate(None, b"0123456789,"):  # signs, fractions
        try:
            return list(orjson.loads(b"[%b]" % flat))
        except orjson.JSONDecodeError:
            return None
    integers = np.fromstring(flat.decode("ascii"), dtype=np.int64, sep=",")
    return integers if integers.max() < _LARGEST else None


def _put_back(document: Any, lists: list[Array | list[Any]]) -> bool:
    """Replace the marks in `inputs`; False where they are not exactly there, each once and in order."""
    inputs = document.get("inputs") if isinstance(document, dict) else None
    entries = [entry for entry in inputs if isinstance(entry, dict)] if isinstance(inputs, list) else []
    marked = [entry for entry in entries if isinstance(entry.get("data"), dict)]
    if [entry["data"] for entry in marked] != [{_MARK: index} for index in range(len(lists))]:
        return False
    for entry, numbers in zip(marked, lists, strict=True):
        entry["data"] = numbers
    return True
