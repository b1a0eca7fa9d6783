"""How large a tar file will be once unpacked, before it is. Blocking."""

import gzip
import zlib
from pathlib import Path
from typing import Final

import zstandard

from server.domain.errors import InvalidArchive

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_CHUNK: Final = 1 << 20
_UNKNOWN: Final = zstandard.CONTENTSIZE_UNKNOWN


def unpacked_bytes(path: Path) -> int:
    """What the file says about itself; 0 where it says nothing. A hint: a gzip trailer counts modulo 4 GiB.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(18)  # the longest header of a zstd frame
        if head.startswith(_GZIP):
            file.seek(max(0, size - 4))
            return int.from_bytes(file.read(4), "little")
    if head.startswith(_ZSTD):
        return _zstd_content_bytes(head)
    return size


def counted_bytes(path: Path, stop_after: int) -> int:
    """Inflate a gzip file without writing it, and count; give up counting beyond `stop_after`.

    Of other files what `unpacked_bytes` says: they do not claim a size that may be wrong.

    Raises:
        InvalidArchive: it is truncated or corrupt.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if not file.read(len(_GZIP)).startswith(_GZIP):
            return unpacked_bytes(path)
    total = 0
    try:
        with gzip.open(path) as stream:
            while total <= stop_after and (chunk := stream.read(_CHUNK)):
                total += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidArchive(f"the archive is truncated or corrupt: {error}") from error
    return total


def _zstd_content_bytes(head: bytes) -> int:
    try:
        size = int(zstandard.get_frame_parameters(head).content_size)
    except zstandard.ZstdError:
        return 0
    return 0 if size == _UNKNOWN else size
