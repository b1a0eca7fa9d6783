"""What an archive may be called. Pure: no name that could leave the store ever reaches a file system or a bucket."""

import hashlib
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from server.domain.errors import ArchiveNotFound

SUFFIXES: Final = (".tar.gz", ".tgz", ".tar.zst", ".tar")
"""How packed archives end; also what is tried, in this order, behind a name that does not exist as it is."""

_LONGEST_NAME: Final = 1024  # an S3 key's limit, in UTF-8 bytes
_LONGEST_FILE_NAME: Final = 200  # file systems allow 255 bytes; the rest is left for suffixes


@lru_cache(maxsize=1024)
def canonical(name: str) -> str:
    """One spelling for one archive: no leading `/`, no trailing `/`.

    Raises:
        ArchiveNotFound: no archive can have this name (`..`, backslashes, control characters, empty segments, ...).
    """
    stripped = name.removeprefix("/").removesuffix("/")
    segments = stripped.split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        raise ArchiveNotFound(name)
    if not stripped.isprintable() or "\\" in stripped or len(stripped.encode()) > _LONGEST_NAME:
        raise ArchiveNotFound(name)
    return stripped


def is_packed(name: str) -> bool:
    """Whether the name says that the archive is one tar file."""
    return name.endswith(SUFFIXES)


def spellings(name: str) -> tuple[str, ...]:
    """The places where a canonical name is looked for, in order: as it is, then with each suffix."""
    if is_packed(name):
        return (name,)
    return (name, *(name + suffix for suffix in SUFFIXES))


def file_name(key: str) -> str:
    """A file name that only this key has: percent-quoted, and shortened through a digest where it is too long."""
    quoted = quote(key, safe="")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if len(quoted) <= _LONGEST_FILE_NAME:
        return quoted
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{quoted[: _LONGEST_FILE_NAME - 65]}~{digest}"
