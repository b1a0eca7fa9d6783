"""The quick reader of byte lists against the usual parser: whatever it takes means what JSON says, to the last number.

It may give up on anything, but not on what clients send. Each promise has a planted bug, which the same search finds.
"""

import json
import re

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.codecs.number_lists import byte_lists
from tests.property.hunting import HUNT

SEPARATORS = (",", ", ")
WRONG_PIECES = (b"", b",", b" ", b"  ", b"-", b".", b"e", b"[", b"]", b"\n", b"0", b"7", b"99")
BLOCK = 4096
SEVERAL_BLOCKS = 100_000


def bulk(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, count).tolist()


def listed(numbers, separator=","):
    return separator.join(map(str, numbers)).encode()


@st.composite
def nearly_lists(draw):
    """A list, perhaps longer than the first block, in which some places are not as they should be."""
    numbers = draw(st.one_of(st.lists(st.integers(0, 300), min_size=1, max_size=8), st.just(bulk(1_300))))
    text = bytearray(listed(numbers, draw(st.sampled_from(SEPARATORS))))
    near_a_border = st.integers(BLOCK - 8, BLOCK + 8)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.one_of(st.integers(0, len(text)), near_a_border)) % (len(text) + 1)
        text[place : place + draw(st.integers(0, 2))] = draw(st.sampled_from(WRONG_PIECES))
    return bytes(text)


def read(text):
    """What stands between the brackets: in one block and in several, with and without something in front."""
    got = byte_lists.read(b"[%b]" % text)
    within = byte_lists.read(b'"99": [%b]99]' % text, 6, 8 + len(text), BLOCK)
    assert (None if got is None else got.tolist()) == (None if within is None else within.tolist())
    return got


def lies(read, text):
    """Whether `read` takes a text that the usual parser refuses or reads otherwise."""
    got = read(text)
    if got is None:
        return False
    try:
        expected = orjson.loads(b"[%b]" % text)
    except orjson.JSONDecodeError:
        return True
    return got.tolist() != expected


@given(st.lists(st.integers(0, 255), min_size=1, max_size=50), st.sampled_from(SEPARATORS))
def test_lists_of_bytes_are_taken(numbers, separator):
    got = read(listed(numbers, separator))
    assert got is not None
    assert (got.dtype, got.tolist()) == (np.uint8, numbers)


@settings(max_examples=250)
@given(nearly_lists())
@example(b"1,2,3,")
@example(b",1")
@example(b"")
@example(b" 1, 2")
@example(b"1, 2 ")
@example(b"1,02,3")
@example(b"1,256,3")
@example(b"1,356,3")
@example(b"1,1000,3")
@example(b"1,0255")
def test_what_is_taken_means_what_json_says(text):
    assert not lies(read, text)


@pytest.mark.parametrize("separator", SEPARATORS)
def test_many_blocks(separator):
    numbers = bulk(SEVERAL_BLOCKS)
    assert read(listed(numbers, separator)).tolist() == numbers


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("wrong", [b"256", b"1.5", b"-1", b"007", b"", b"1 2", b"null"])
def test_one_wrong_place_far_behind_is_seen(wrong, separator):
    pieces = listed(bulk(SEVERAL_BLOCKS), ",").split(b",")
    pieces[90_000] = wrong
    assert read(separator.encode().join(pieces)) is None


@pytest.mark.parametrize("separators", [None, (",", ":")])
def test_what_the_two_usual_writers_write_is_taken(separators):
    assert byte_lists.read(json.dumps(bulk(3_000), separators=separators).encode()) is not None
    assert byte_lists.read(orjson.dumps(bulk(3_000))) is not None


PLANTED = {
    "leading zeros are taken": lambda text: read(re.sub(rb"(?<![0-9])0+(?=[0-9])", b"", text)),
    "large numbers wrap": lambda text: read(
        re.sub(rb"[0-9]{3,}", lambda number: str(int(number[0]) % 256).encode(), text)
    ),
    "blanks are taken anywhere": lambda text: read(text.replace(b" ", b"")),
    "empty places are passed over": lambda text: read(re.sub(b",+", b",", text).strip(b",")),
    "line breaks are passed over": lambda text: read(text.replace(b"\n", b"")),
    "signs are dropped": lambda text: read(text.replace(b"-", b"")),
    "brackets are dropped": lambda text: read(text.translate(None, b"[]")),
    "a number is cut in two at the end of a block": lambda text: read(
        re.sub(rb"(?<=[0-9])(?=[0-9])", b",", text[:BLOCK], count=BLOCK * (len(text) > BLOCK)) + text[BLOCK:]
    ),
}


@pytest.mark.parametrize("bug", PLANTED, ids=str)
def test_planted_bugs_are_found(bug):
    @settings(HUNT, max_examples=600)
    @given(nearly_lists())
    def hunt(text):
        assert not lies(PLANTED[bug], text)

    with pytest.raises(AssertionError):
        hunt()
