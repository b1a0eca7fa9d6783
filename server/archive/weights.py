"""The large files of an archive that is being staged: equal ones, in whatever steps and archives, become one file.

Only files that nobody may write are shared: whoever overwrote one in place would change all steps that have it.
"""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from server.archive.digest import FileDigest
from server.archive.model_folder import ContentFile
from server.archive.needs import SMALLEST_BYTES
from server.domain.model import FileSha, WeightFile

__all__ = ["SMALLEST_BYTES", "FindFile", "Weights", "is_sealed", "no_file"]

FindFile: TypeAlias = Callable[[FileSha, int], Path | None]
"""Where a file of this content and size (bytes) lies that may be linked; `None` where there is none."""


def no_file(_digest: FileSha, _size: int) -> Path | None:
    """No file lies anywhere yet."""
    return None


class Weights:
    """One staging. Call it for a file's digest, as a `FileDigest`, which it remembers."""

    def __init__(self, digest_of: FileDigest, find: FindFile) -> None:
        self._digest_of = digest_of
        self._find = find
        self._digests: dict[Path, str] = {}
        self._placed: dict[FileSha, Path] = {}

    def __call__(self, path: Path) -> str:
        """The file's digest. Raises InvalidArchive where it cannot be read."""
        digest = self._digest_of(path)
        self._digests[path] = digest
        return digest

    def of(self, files: list[ContentFile]) -> tuple[WeightFile, ...]:
        """The weight files among a step's files, as far as their digests were asked for before."""
        return tuple(
            WeightFile(file.relative, FileSha(self._digests[file.path]), file.size)
            for file in files
            if file.size >= SMALLEST_BYTES and file.path in self._digests
        )

    def equal_file(self, file: ContentFile) -> Path | None:
        """Where a file of equal content lies, in this archive or elsewhere; `None` for one that is not large."""
        if file.size < SMALLEST_BYTES or file.path not in self._digests:
            return None
        digest = FileSha(self._digests[file.path])
        return self._placed.get(digest) or self._find(digest, file.size)

    def placed(self, folder: Path, weights: tuple[WeightFile, ...]) -> None:
        """A step lies in `folder` now, for the steps after it to share its files."""
        for file in weights:
            if is_sealed(folder / file.path, file.size_bytes):
                self._placed.setdefault(file.digest, folder / file.path)


def is_sealed(path: Path, size: int) -> bool:
    """Whether a file of this size is there that nobody may write."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size and not stat.S_IMODE(status.st_mode) & 0o222
