"""Operating system errors, told in the words of `domain.errors`. Host paths stay out of the messages."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from server.domain.errors import ArchiveNotFound, DiskFull, StoreUnavailable

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_SUCH: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Translate what goes wrong while an archive is read where it rests."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise disk_full(name) from error
        if error.errno in _NO_SUCH:
            raise ArchiveNotFound(name) from error
        raise StoreUnavailable(f"the store cannot read archive {name!r}: {error.strerror}") from error


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Translate what goes wrong while an archive is unpacked and laid out in the disk cache."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise disk_full(name) from error
        raise StoreUnavailable(f"archive {name!r} cannot be laid out on disk: {error.strerror}") from error


def disk_full(name: str) -> DiskFull:
    """The disk itself, not our quota, has no room."""
    return DiskFull(f"no space left on the disk while archive {name!r} was fetched or unpacked; nothing of it was kept")
