"""Puts files that an archive leaves out into it, where it lies unpacked. Blocking."""

import os
import shutil
from pathlib import Path

from server.archive.layout import find_models
from server.archive.needs import LentFiles
from server.domain.errors import InvalidArchive


def fill_in(root: Path, lent: LentFiles) -> None:
    """Link the files into the archive at `root`, which is ours to change; copy where the file system cannot link.

    Raises:
        InvalidArchive: something is in the way of one, or a folder on its way is a link.
        OSError: as the file system says.
    """
    paths = find_models(root).paths
    for model, files in lent.items():
        for path, source in files.items():
            target = paths[model] / path
            _make_way(target, paths[model], f"{model}/{path}")
            try:
                target.hardlink_to(source)
            except OSError:  # another file system, or too many links
                shutil.copyfile(source, target)
                target.chmod(0o444)


def twin_of(root: Path, into: Path) -> Path:
    """A copy of the archive at `root`, which is not ours, of links to its files. Raises OSError."""
    return Path(shutil.copytree(root, into, symlinks=True, copy_function=_link_or_copy))


def _make_way(target: Path, folder: Path, where: str) -> None:
    for parent in [folder, *(folder / part for part in target.relative_to(folder).parents)]:
        if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
            raise InvalidArchive(f"{where} cannot be put into the archive: there is a link or a file on its way")
    if os.path.lexists(target):
        raise InvalidArchive(f"the archive holds {where}, which its manifest takes from another one")
    target.parent.mkdir(parents=True, exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target)
