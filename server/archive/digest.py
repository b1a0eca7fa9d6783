"""Step digests: equal digest = the same step, wherever it was packed and whatever it is called.

Counted: the paths and contents of a step's files (version numbers are paths), its canonical config without its name,
and for each model it calls the name it uses and that model's digest. An ensemble's digest thus follows its callees.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Final, TypeAlias

from server.archive.model_config import canonical_text
from server.archive.model_folder import ModelFolder, content
from server.domain.errors import Bug, InvalidArchive
from server.domain.model import StepDigest

FileDigest: TypeAlias = Callable[[Path], str]
"""The SHA-256 of a file's content as 64 hex digits."""

FileIdentity: TypeAlias = bytes
"""Device, inode, size, and the times of content and inode; packed, since very many are remembered."""
_IDENTITY: Final = Struct("=5Q")
_MOST: Final = (1 << 64) - 1
SMALL_BYTES: Final = 64 << 10
"""To read a file of this size again takes a tenth of a millisecond."""

_SALT: Final = "roundhouse step 1"


def file_digest(path: Path) -> str:
    """Read the file and hash it."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidArchive(f"{path.name} cannot be read: {error.strerror}") from error


class RememberedFileDigests:
    """A `FileDigest` that reads a file once, as long as its identity, size and times stay the same. Thread-safe.

    The inode's change time is part of the key: a new file that inherits the number and size of a deleted one is read.
    Of small files, which every archive brings some of, those of the archives being staged are enough.
    """

    def __init__(self, limit: int = 8192, small_limit: int = 512) -> None:
        """`limit`: large files that are remembered; `small_limit`: others."""
        self._limits = {False: limit, True: small_limit}
        self._digests: dict[bool, dict[FileIdentity, bytes]] = {False: {}, True: {}}
        """Those of large files, and of small ones."""
        self._lock = Lock()

    def __call__(self, path: Path) -> str:
        """The file's digest. Raises InvalidArchive where it cannot be read."""
        key, is_small = _identity(path)
        known = self._digests[is_small].get(key)
        if known is not None:
            return known.hex()
        digest = file_digest(path)
        self._remember(key, digest, is_small)
        return digest

    def learn(self, path: Path, digest: str) -> None:
        """Who wrote the file knows its digest already."""
        key, is_small = _identity(path)
        self._remember(key, digest, is_small)

    def _remember(self, key: FileIdentity, digest: str, is_small: bool) -> None:
        digests = self._digests[is_small]
        with self._lock:
            while len(digests) >= self._limits[is_small]:
                del digests[next(iter(digests))]
            digests[key] = bytes.fromhex(digest)


def _identity(path: Path) -> tuple[FileIdentity, bool]:
    """What the file is known by, and whether it is small."""
    status = path.stat()
    fields = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _IDENTITY.pack(*(field & _MOST for field in fields)), status.st_size <= SMALL_BYTES


def step_digest(
    model: ModelFolder, callees: Mapping[str, StepDigest], digest_of: FileDigest = file_digest, apart: str = ""
) -> StepDigest:
    """The digest of one model, given the digests of all models that it calls.

    `apart` is for measuring what sharing saves: steps that differ in it are never one, however equal they are.

    Raises:
        InvalidArchive: a file cannot be read, or a link leaves the archive.
        Bug: a callee's digest is missing; callees come first.
    """
    if missing := [name for name in model.calls if name not in callees]:
        raise Bug(f"step {model.name!r} was digested before its callees {missing}. This is a bug.")
    counted = [
        f"{_SALT}, apart for {apart}" if apart else _SALT,
        canonical_text(model.config),
        sorted({**{file.relative: digest_of(file.path) for file in content(model)}, **model.lacking}.items()),
        [[name, callees[name]] for name in sorted(model.calls)],
    ]
    return StepDigest(hashlib.sha256(json.dumps(counted).encode()).hexdigest())
