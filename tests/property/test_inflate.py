"""Inflating says what the standard library says of any stream: the same bytes, or that it is damaged."""

import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.archive.inflate import DAMAGED, Inflated

CONTENTS = st.binary(max_size=2000) | st.integers(0, 600_000).map(bytes)
MEMBERS = st.lists(CONTENTS, min_size=1, max_size=3)
SIZES = st.integers(1, 700_000)


class Dripping:
    """Gives at most so many bytes at a time, as a slow connection does."""

    def __init__(self, data, step):
        self._source, self._step = io.BytesIO(data), step

    def read(self, size, /):
        return self._source.read(min(size, self._step))


def inflated(data, size=1 << 20, step=1 << 20):
    stream = Inflated(Dripping(data, step))
    pieces = []
    while piece := stream.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    assert stream.read(size) == b""
    return b"".join(pieces)


def packed(members, padding=0):
    return b"".join(gzip.compress(member, compresslevel=1) + bytes(padding) for member in members)


@given(MEMBERS, SIZES, st.integers(1, 5000), st.integers(0, 3))
def test_members_come_out_as_they_went_in(members, size, step, padding):
    assert inflated(packed(members, padding), max(size, 100), max(step, 50)) == b"".join(members)


@given(MEMBERS, st.data())
def test_a_stream_that_is_cut_off_is_damaged(members, data):
    whole = packed(members)
    last = len(gzip.compress(members[-1], compresslevel=1))
    cut = whole[: len(whole) - data.draw(st.integers(1, last - 1))]
    with pytest.raises(DAMAGED):
        inflated(cut)


@given(MEMBERS, st.data())
def test_a_changed_byte_of_content_or_checksum_is_noticed(members, data):
    damaged = bytearray(packed(members[:1]))
    position = data.draw(st.integers(10, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    try:
        expected = gzip.decompress(bytes(damaged))
    except (OSError, EOFError, zlib.error):
        with pytest.raises(DAMAGED):
            inflated(bytes(damaged))
    else:
        assert inflated(bytes(damaged)) == expected


@pytest.mark.parametrize("after", [b"rubbish", b"\0\0rubbish", b"\x1f\x8b"])
def test_what_follows_the_last_member_is_no_archive(after):
    with pytest.raises(DAMAGED):
        inflated(packed([b"content"]) + after)


def test_a_bomb_is_inflated_no_further_than_it_is_read():
    """A gigabyte of zeros in a megabyte: 256 KiB of it are in memory at a time."""
    source = io.BytesIO(gzip.compress(bytes(50_000_000)))
    stream = Inflated(source)
    assert len(stream.read(512)) == 512
    assert source.tell() <= 1 << 16
