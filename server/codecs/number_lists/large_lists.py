"""Large lists of numbers in a JSON document, read without making a Python object per number and per bracket.

An image sent as `data: image.tolist()` is a million numbers in hundreds of thousands of lists; parsing those the
usual way takes ten times as long as the inference. Here the text of each large `data` is cut out, its structure is
checked as a whole, its brackets are dropped (a tensor's nesting says nothing that its shape does not), and the numbers
are parsed in one go: bytes by `byte_lists.py`, fractions by orjson, which gets them right to the last bit.
Everything that is not plainly a list of numbers is left to the usual parser, errors included.
"""

import re
from array import array
from typing import Any, Final

import numpy as np
import orjson

from server.codecs.number_lists import byte_lists
from server.domain.inference import Array

WORTH_BYTES: Final = 1 << 15
"""Shorter documents, and shorter lists, are parsed the usual way."""

# An unescaped `"data"` cannot lie inside of a string, and with a colon behind it, it is a key.
_KEY: Final = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
_MARK: Final = "large list"
_DEEPEST: Final = 32  # axes of a numpy array
_LARGEST: Final = 10**18  # beyond, the number parser saturates
_FRACTION_MARKS: Final = (b".", b"e", b"E")
_NO_NUMBERS: Final = (b'"', b"u", b"a", b"{")  # strings; true, null; false; objects

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
    """Parse a document whose inputs have large lists as `data`: those come back flat.

    They are arrays of uint8 or int64, from 0 up, where all numbers are integers; of float64 where some are fractions
    (`1.0` and `1e3` are); and lists where integers have signs.

    Gives None where there is nothing to gain, or something is not plain: then the usual parser decides.
    """
    pieces: list[bytes] = []
    lists: list[Array | list[Any]] = []
    position = 0
    for start, stop in _large_lists(body):
        numbers = _numbers(body, start, stop)
        if numbers is None:
            return None
        pieces += (body[position:start], b'{"%b":%d}' % (_MARK.encode(), len(lists)))
        lists.append(numbers)
        position = stop
    if not lists:
        return None
    try:
        document = orjson.loads(b"".join((*pieces, body[position:])))
    except orjson.JSONDecodeError:
        return None
    return document if _put_back(document, lists) else None


def nested(text: bytes) -> Array | None:
    """Read a nested list of numbers as an array of its shape: uint8 or int64 where all are integers from 0 up.

    Otherwise float64.

    Gives None where it is ragged, empty, or not plainly a list of numbers.
    """
    numbers = _numbers(text, 0, len(text)) if text.startswith(b"[") else None
    shape = None if numbers is None else _shape(text)
    if numbers is None or shape is None:
        return None
    return (numbers if isinstance(numbers, np.ndarray) else np.array(numbers, dtype=np.float64)).reshape(shape)


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


def _large_lists(body: bytes) -> list[tuple[int, int]]:
    """From where to where each large `data` goes: up to the last bracket before the next string or end of an object."""
    found = []
    key = _KEY.search(body)
    while key is not None:
        start = key.end()
        quote = body.find(b'"', start)
        brace = body.find(b"}", start, quote if quote != -1 else len(body))
        stop = body.rfind(b"]", start, max(quote, brace) if -1 in (quote, brace) else brace) + 1
        if stop - start >= WORTH_BYTES:
            found.append((start, stop))
        key = _KEY.search(body, max(start, stop))
    return found


def _numbers(body: bytes, start: int, stop: int) -> Array | list[Any] | None:
    """The numbers of the list `body[start:stop]`, flat; None where it is not plainly one. It begins with a bracket."""
    is_flat = body.find(b"[", start + 1, stop) == -1
    numbers = byte_lists.read(body, start, stop) if is_flat else None
    if numbers is not None:
        return numbers
    text = body[start:stop]
    if is_flat and _has_fractions(text):
        return _fractions(text)
    if not _is_well_nested(text):
        return None
    flat = b"[%b]" % text.translate(None, b"[] ")
    if _has_fractions(flat):
        return _fractions(flat)
    numbers = None if is_flat else byte_lists.read(flat)
    return _integers(flat) if numbers is None else numbers


def _is_well_nested(text: bytes) -> bool:
    """Whether brackets and commas are where they belong, and nothing but numbers (or parts of such) between them."""
    kinds = np.frombuffer(text.translate(_KIND_BY_BYTE), np.uint8)
    pairs = kinds[:-1] * np.uint8(_KINDS) + kinds[1:]
    if kinds[-1] != _CLOSE or pairs.tobytes().translate(None, _LEGAL_PAIRS):
        return False
    brackets = kinds.take(np.flatnonzero(kinds >= _OPEN))  # indexing with the flags would take twice as long
    depths = np.cumsum(np.where(brackets == _OPEN, 1, -1))
    return bool(depths[-1] == 0 and depths[:-1].all())


def _has_fractions(text: bytes) -> bool:
    return any(mark in text for mark in _FRACTION_MARKS)


def _fractions(text: bytes) -> Array | None:
    """The float64 numbers of a flat list, integers among them as well; None where something else is among them."""
    if any(mark in text for mark in _NO_NUMBERS):
        return None
    try:
        return np.frombuffer(array("d", orjson.loads(text)), np.float64)
    except orjson.JSONDecodeError:
        return None


def _integers(flat: bytes) -> Array | list[Any] | None:
    """Read `[1,2,3]`: digits and signs, something between each two commas."""
    if b"-" in flat or b"+" in flat:
        try:
            return list(orjson.loads(flat))
        except orjson.JSONDecodeError:
            return None
    characters = np.frombuffer(flat, np.uint8)
    is_digit = characters >= ord("0")  # and, but for the first and the last character, below the brackets
    is_digit[[0, -1]] = False
    if (~is_digit[:-2] & (characters[1:-1] == ord("0")) & is_digit[2:]).any():  # leading zeros, which JSON forbids
        return None
    integers = np.fromstring(flat[1:-1].decode("ascii"), dtype=np.int64, sep=",")
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
