"""Flat lists of numbers from 0 to 255, which is how files and pictures travel in JSON: read without a loop over them.

A parser goes from number to number, and its processor guesses wrong at every second comma, because nobody knows how
long the next number is. Here every *position* is looked at instead, by a few operations over whole blocks: what the
three characters in front of it would mean if it were a comma; then the commas are picked out. A list of 100,000
numbers takes a millisecond, where the fastest parsers of JSON need two (simdjson) or three and a half (orjson).

What is taken is a proven subset of JSON: `1,2,3` and `1, 2, 3`, as all libraries write it. Everything else (blanks
elsewhere, signs, fractions, larger numbers, leading zeros, broken text) gives None, and another parser decides.
"""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np

from server.domain.inference import Array

BLOCK_BYTES: Final = 1 << 17
"""Bytes of text at once: the dozen arrays of a block stay in a core's second cache."""
_BEGINNING: Final = re.compile(rb"\[[0-9]{1,3}(?:, ?[0-9]{1,3}){0,15}[,\]]")
"""Most texts that are no such list show it at once."""
_LEAD: Final = 4
"""Bytes of text that a block sees in front of it: a number has three digits, and pairs begin at even places."""

_ZERO, _COMMA, _BLANK = (np.uint8(ord(character)) for character in "0, ")
_TEN, _HUNDRED = np.uint8(10), np.uint8(100)


def read(text: bytes, start: int = 0, stop: int | None = None, block_bytes: int = BLOCK_BYTES) -> Array | None:
    """Read the list `text[start:stop]`, brackets included, as uint8 [n]; None where it is not plainly such a list.

    Nothing is copied where three bytes stand in front of it, whatever they are.
    """
    stop = len(text) if stop is None else stop
    if not _BEGINNING.match(text, start, stop) or text[stop - 1] != ord("]"):
        return None
    first = start + 1
    if first < _LEAD:
        text, first, stop = bytes(_LEAD - first) + text, _LEAD, stop + _LEAD - first
    characters = np.frombuffer(text, np.uint8)
    blocks: list[Array] = []
    for begin, end in _blocks(text, first, stop, block_bytes):
        values = _values(characters[begin - _LEAD : end], is_last=end == stop)
        if values is None:
            return None
        blocks.append(values)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _blocks(text: bytes, start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut behind commas."""
    while start + size < stop:
        comma = text.rfind(b",", start, start + size)
        if comma == -1:
            break
        yield start, comma + 1
        start = comma + 1
    yield start, stop


def _values(text: Array, *, is_last: bool) -> Array | None:
    """The numbers of `text[_LEAD:]`, behind each of which there is a comma, or a bracket behind the last.

    Why what is taken is a list: there are digits, commas and blanks only; a digit stands in front of each comma; a
    blank stands behind each comma or behind none, and nowhere else. That leaves the lengths of the numbers. A number's
    value, made of its last three digits, is written with at most as many digits as the number has, and with fewer
    where it has leading zeros or more than three digits. So where the digits add up, each number is as JSON wants it.
    """
    size = len(text) - _LEAD
    is_comma = np.zeros(len(text) + size % 2, np.uint8)
    np.equal(text, _COMMA, out=is_comma[: len(text)].view(np.bool_))
    is_end = is_comma[_LEAD:]
    if is_last:
        is_end[size - 1] = True
    digits = text - _ZERO
    is_digit = (digits <= 9).view(np.uint8)
    ends, digit_count = _count(is_end), _count(is_digit[_LEAD:])
    if _count(is_digit[_LEAD - 1 : -1] & is_end[:size]) != ends:
        return None
    blanks = size - ends - digit_count
    if blanks and not _are_behind_commas(text[_LEAD:] == _BLANK, is_comma[_LEAD - 1 : len(text) - 1], blanks):
        return None
    digits *= is_digit
    hundreds = digits[_LEAD - 3 : -3] * is_digit[_LEAD - 2 : -2]
    if (hundreds * is_end[:size]).max() > 2:
        return None
    values = np.zeros_like(is_end)
    np.multiply(hundreds, _HUNDRED, out=values[:size])
    values[:size] += digits[_LEAD - 2 : -2] * _TEN
    values[:size] += digits[_LEAD - 1 : -1]  # from 256 on this is less than 100, which has fewer digits
    values *= is_end
    found = _picked(values, is_end)
    return found if len(found) + np.count_nonzero(found >= 10) + np.count_nonzero(found >= 100) == digit_count else None


def _are_behind_commas(is_blank: Array, is_behind_comma: Array, blanks: int) -> bool:
    """Whether there are as many blanks as `blanks`, each behind a comma, and one behind each comma."""
    return np.count_nonzero(is_blank) == blanks and not _count(is_blank.view(np.uint8) ^ is_behind_comma)


def _picked(values: Array, is_end: Array) -> Array:
    """The values where `is_end`; elsewhere they are 0. Ends never touch, so there is one in two bytes at the most."""
    pairs = values.view(np.uint16).take(np.flatnonzero(is_end.view(np.uint16) != 0))
    pairs |= pairs >> np.uint16(8)
    return pairs.astype(np.uint8)


def _count(flags: Array) -> int:
    return int(np.count_nonzero(flags.view(np.bool_)))
