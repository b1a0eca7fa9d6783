"""What is written as gzip is read back by every gunzip, whatever way its pieces went."""

import gzip
import io
import random
import zlib

from hypothesis import given
from hypothesis import strategies as st

from server.archive.deflate import GzipWriter

NOISE = st.integers(0, 2**32).flatmap(
    lambda seed: st.integers(0, 400_000).map(lambda size: random.Random(seed).randbytes(size))
)
TEXT = st.integers(0, 400_000).map(lambda size: (b"a config, a tokenizer, a label; " * (size // 32 + 1))[:size])
PIECES = st.lists(NOISE | TEXT | st.binary(max_size=100), max_size=5)


def written(pieces, level=6):
    buffer = io.BytesIO()
    with GzipWriter(buffer, level) as stream:
        for piece in pieces:
            assert stream.write(piece) == len(piece)
    return buffer.getvalue()


@given(PIECES, st.integers(0, 9))
def test_every_gunzip_reads_it(pieces, level):
    packed = written(pieces, level)
    assert gzip.decompress(packed) == b"".join(pieces)
    whole = zlib.decompressobj(31)
    assert whole.decompress(packed) == b"".join(pieces)
    assert whole.eof  # one member
    assert whole.unused_data == b""


@given(PIECES, st.integers(1, 100_000))
def test_equal_content_gives_equal_bytes_however_it_is_handed_over(pieces, size):
    content = b"".join(pieces)
    others = [content[start : start + size] for start in range(0, len(content), size)]
    assert written(pieces) == written(others)


def test_text_shrinks_and_noise_hardly_grows():
    noise, text = random.Random(7).randbytes(2_000_000), b"a label; " * 200_000
    assert len(written([noise])) < 1.001 * len(noise)
    assert len(written([text, noise, text])) < 1.02 * len(noise)
