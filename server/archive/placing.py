"""Puts one step's files into `steps_dir/DIGEST/`, whole or not at all, however many threads or processes try.

A placed step is never changed afterwards (Triton reloads a model when a file's time under it moves). `.staged.json`
beside the content remembers sizes and times, so that a step that something else damaged is noticed and placed anew.
"""

import contextlib
import errno
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from server.archive.model_config import render
from server.archive.model_folder import CONFIG_FILE, ContentFile, ModelFolder
from server.domain.errors import DiskFull, InvalidArchive
from server.domain.model import StepDigest

MARKER: Final = ".staged.json"
_TEMPORARY: Final = ".placing-"
_TAKEN: Final = {errno.ENOTEMPTY, errno.EEXIST}
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


FindEqual: TypeAlias = Callable[[ContentFile], Path | None]
"""Where a file of equal content lies that may be linked."""


def nothing_equal(_file: ContentFile) -> Path | None:
    """No file lies anywhere yet."""
    return None


def place(
    model: ModelFolder,
    files: list[ContentFile],
    digest: StepDigest,
    steps_dir: Path,
    link: bool,
    equal: FindEqual = nothing_equal,
) -> tuple[Path, int]:
    """Make sure that `steps_dir/digest` holds the step; returns it and the bytes of its files (without the config).

    `files` were listed before the digest was computed: one that is not the same any more is refused, since the digest
    would be a lie. `link` uses hard links where the file system can, and copies where it cannot; of files that lie
    placed already (`equal`) it makes one more link.

    Raises:
        DiskFull: no room; nothing is left behind.
        InvalidArchive: a file vanished or changed while it was copied.
    """
    target = steps_dir / digest
    known = verified_bytes(target)
    if known is not None:
        return target, known
    steps_dir.mkdir(parents=True, exist_ok=True)
    temporary = steps_dir / f"{_TEMPORARY}{digest[:12]}-{uuid.uuid4().hex}"
    try:
        with _translated(model.name):
            size = _fill(temporary, model, files, link, equal)
            _publish(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target, size


def _fill(folder: Path, model: ModelFolder, files: list[ContentFile], link: bool, equal: FindEqual) -> int:
    folder.mkdir()
    for version in model.versions or ("1",):  # Triton wants a version folder of an ensemble too
        (folder / version).mkdir()
    for file in files:
        _transfer(file, folder / file.relative, link, equal(file) if link else None)
    config = folder / CONFIG_FILE
    config.write_text(render(model.config), "utf-8")
    config.chmod(0o444)
    names = [CONFIG_FILE, *(file.relative for file in files)]
    stamps = {name: _stamp(folder / name) for name in names}
    (folder / MARKER).write_text(json.dumps({"format": 1, "files": stamps}, sort_keys=True), "utf-8")
    return sum(file.size for file in files)


def _transfer(file: ContentFile, to: Path, link: bool, equal: Path | None) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    source = file.path.resolve()
    is_there = (equal is not None and _is_linked(equal, to)) or (link and _is_linked(source, to))
    if not is_there:
        shutil.copyfile(source, to)
        to.chmod(0o444)
    if _stamp(source) != [file.size, file.mtime_ns] or to.stat().st_size != file.size:
        raise InvalidArchive(f"{file.relative} changed while it was staged; try again")


def _is_linked(source: Path, to: Path) -> bool:
    try:
        to.hardlink_to(source)
    except OSError:  # another file system, too many links, or a file system without links
        return False
    return True


def _publish(temporary: Path, target: Path) -> None:
    """Rename into place. Who comes second finds the first one's work and keeps it, unless it is damaged."""
    while True:
        try:
            temporary.rename(target)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            if verified_bytes(target) is not None:
                return
            damaged = target.with_name(f"{_TEMPORARY}damaged-{uuid.uuid4().hex}")
            with contextlib.suppress(FileNotFoundError):  # another thread moved it first
                target.rename(damaged)
            shutil.rmtree(damaged, ignore_errors=True)
        else:
            return


def verified_bytes(folder: Path) -> int | None:
    """The bytes of a placed step's files (without the config), `None` where it is absent or damaged."""
    try:
        files: dict[str, list[int]] = json.loads((folder / MARKER).read_text("utf-8"))["files"]
        if any(_stamp(folder / name) != stamp for name, stamp in files.items()):
            return None
        return sum(size for name, (size, _) in files.items() if name != CONFIG_FILE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def clear_leftovers(steps_dir: Path) -> None:
    """Delete what a killed process left half placed. Only before anything is staged into `steps_dir`."""
    if steps_dir.is_dir():
        for path in steps_dir.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)


def _stamp(path: Path) -> list[int]:
    status = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - Path.stat says the same less plainly
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a file")
    return [status.st_size, status.st_mtime_ns]


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFull(f"no room left on the disk to stage the step {name!r}") from error
        if isinstance(error, FileNotFoundError):
            raise InvalidArchive(f"a file of the step {name!r} vanished while it was staged; try again") from error
        raise
