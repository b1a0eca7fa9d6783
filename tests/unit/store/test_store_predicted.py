"""How large an archive will be, before it is unpacked."""

import gzip

import pytest
import zstandard

from server.domain.errors import InvalidArchive
from server.store.predicted import counted_bytes, unpacked_bytes


def test_gzip_zstd_and_plain_files_say_how_large_they_are(tmp_path):
    content = bytes(100_000)
    for name, packed in {
        "a.tar.gz": gzip.compress(content),
        "a.tar.zst": zstandard.compress(content),
        "a.tar": content,
    }.items():
        (tmp_path / name).write_bytes(packed)
        assert unpacked_bytes(tmp_path / name) == 100_000


def test_a_zstd_stream_without_a_size_says_nothing(tmp_path):
    compressor = zstandard.ZstdCompressor().compressobj()
    (tmp_path / "a.tar.zst").write_bytes(compressor.compress(b"x" * 1000) + compressor.flush())
    assert unpacked_bytes(tmp_path / "a.tar.zst") == 0


def test_an_empty_file_and_a_mere_magic_are_no_trouble(tmp_path):
    for content in (b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"):
        (tmp_path / "a").write_bytes(content)
        assert unpacked_bytes(tmp_path / "a") >= 0


def test_counting_stops_where_it_is_told_to(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(bytes(5_000_000)))
    assert counted_bytes(tmp_path / "a", stop_after=10_000_000) == 5_000_000
    assert counted_bytes(tmp_path / "a", stop_after=10) < 5_000_000


def test_counting_notices_a_truncated_file(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(bytes(range(256)) * 100)[:-20])
    with pytest.raises(InvalidArchive, match="truncated"):
        counted_bytes(tmp_path / "a", stop_after=10**9)


def test_what_is_no_gzip_is_taken_at_its_word(tmp_path):
    """It was read as a broken gzip: a plain tar over the quota was then called corrupt, instead of too large."""
    for name, packed in {"a.tar.zst": zstandard.compress(bytes(5000)), "a.tar": bytes(5000)}.items():
        (tmp_path / name).write_bytes(packed)
        assert counted_bytes(tmp_path / name, stop_after=10) == 5000
