"""Content-Encoding: real streams, broken streams and bombs."""

import gzip
import tracemalloc
import zlib
from functools import partial

import pytest

from server.codecs.http import compression
from server.domain.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

TEXT = b"roundhouse " * 5000

# Without the time of day: bytes name their test, and two workers of one run must agree on the names.
gzipped = partial(gzip.compress, mtime=0)


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzipped(TEXT)),
        ("GZIP", gzipped(TEXT)),
        ("x-gzip", gzipped(TEXT)),
        ("gzip", gzipped(TEXT[:99]) + gzipped(b"") + gzipped(TEXT[99:])),
        ("gzip", gzipped(TEXT) + b"\0" * 100_000),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("identity", TEXT),
        ("", TEXT),
        ("deflate, gzip", gzipped(zlib.compress(TEXT))),
        ("identity,gzip", memoryview(gzipped(TEXT))),
    ],
)
def test_inflate(encoding, body):
    assert compression.inflate(body, encoding, len(TEXT)) == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "gzip,gzip,gzip,gzip", "q=1"])
def test_unknown_encodings(encoding):
    with pytest.raises(UnsupportedMediaType, match="Content-Encoding"):
        compression.inflate(gzipped(TEXT), encoding, 1 << 20)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b""),
        ("gzip", TEXT),
        ("gzip", gzipped(TEXT)[:-1]),
        ("gzip", gzipped(TEXT)[:20]),
        ("gzip", gzipped(TEXT) + b"rest"),
        ("gzip", gzipped(TEXT)[:-5] + b"\0\0\0\0\0"),
        ("deflate", zlib.compress(TEXT)[:-1]),
        ("deflate", zlib.compress(TEXT) + b"rest"),
        ("deflate", b"\xff\xff\xff"),
    ],
)
def test_broken_streams(encoding, body):
    with pytest.raises(InvalidRequest, match="stream"):
        compression.inflate(body, encoding, 1 << 20)


@pytest.mark.parametrize("limit", [0, 1, len(TEXT) - 1])
@pytest.mark.parametrize(("encoding", "body"), [("gzip", gzipped(TEXT)), ("deflate", zlib.compress(TEXT)), ("", TEXT)])
def test_the_limit_counts_what_comes_out(encoding, body, limit):
    with pytest.raises(PayloadTooLarge) as caught:
        compression.inflate(body, encoding, limit)
    assert caught.value.limit_bytes == limit


def test_nested_bombs_stop_at_the_limit():
    bomb = gzipped(gzipped(bytes(50_000_000)))
    with pytest.raises(PayloadTooLarge):
        compression.inflate(bomb, "gzip, gzip", 1_000_000)


def test_a_bomb_takes_no_more_memory_than_the_limit():
    bomb = gzipped(bytes(20_000_000))
    tracemalloc.start()
    with pytest.raises(PayloadTooLarge):
        compression.inflate(bomb, "gzip", 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_members_without_end_are_refused():
    with pytest.raises(InvalidRequest, match="behind the end"):
        compression.inflate(gzipped(b"") * 10_001, "gzip", 100)


@pytest.mark.parametrize(
    ("accept", "size", "encoding"),
    [
        ("gzip", 10_000, "gzip"),
        ("gzip, deflate, br", 10_000, "gzip"),
        ("br, deflate", 10_000, "deflate"),
        ("deflate;q=0.5, gzip;q=0.9", 10_000, "gzip"),
        ("gzip;q=0", 10_000, ""),
        ("identity, gzip;q=0.5", 10_000, ""),
        ("x-gzip", 10_000, "gzip"),
        ("br", 10_000, ""),
        ("", 10_000, ""),
        ("gzip", 1023, ""),
    ],
)
def test_pick(accept, size, encoding):
    assert compression.pick(accept, size) == encoding


@pytest.mark.parametrize(("encoding", "undo"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_deflate(encoding, undo):
    body = (TEXT, memoryview(b"tail"))
    assert undo(compression.deflate(body, encoding)) == TEXT + b"tail"
    assert compression.deflate(body, encoding) == compression.deflate(body, encoding)
