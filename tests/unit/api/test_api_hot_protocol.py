"""What goes the short way, and what an answer's head looks like."""

import pytest

from server.api.hot_path import _matched
from server.api.hot_protocol import _head, _is_small
from server.api.short_way import SMALL_BYTES


def test_heads_end_where_they_should():
    head = _head(200, [(b"a", b"1"), (b"b", b"2")], 7, keep_alive=True)
    assert head == b"HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\ncontent-length: 7\r\n\r\n"
    assert b"\r\nconnection: close\r\n" in _head(431, [], 0, keep_alive=False)


@pytest.mark.parametrize("value", [b"x\r\ninjected: 1", b"x\ninjected: 1", b"x\r"])
def test_no_header_breaks_out_of_its_line(value):
    with pytest.raises(ValueError, match="line break"):
        _head(200, [(b"a", value)], 0, keep_alive=True)


@pytest.mark.parametrize(
    ("value", "is_small"),
    [(b"0", True), (b"%d" % SMALL_BYTES, True), (b"%d" % (SMALL_BYTES + 1), False), (b"9" * 4000, False)],
)
def test_small_bodies_are_announced_so(value, is_small):
    assert _is_small([(b"host", b"x"), (b"content-length", value)]) is is_small


def test_without_a_length_nothing_is_small():
    assert not _is_small([(b"transfer-encoding", b"chunked")])


@pytest.mark.parametrize(
    "target", [b"http://x/invocations", b"/invocations?a", b"/models/a%2Fb/invoke", b"/invocations#a", b"/caf\xe9", b""]
)
def test_what_is_not_a_plain_path_takes_the_other_way(target):
    assert _matched(target) is None


def test_plain_paths_are_taken_apart():
    found = _matched(b"/models/team/a/invoke")
    assert found is not None
    assert found.name == "team/a"
