"""Which archives a list of paths contains. Pure, so that a folder and a bucket give the same answer."""

from collections.abc import Iterable
from typing import Final

from server.store.names import is_packed

_MANIFEST: Final = "roundhouse.json"
_CONFIG: Final = "config.pbtxt"


def archive_names(paths: Iterable[str]) -> list[str]:
    """Names of the archives among `/`-separated relative paths of files, sorted.

    A tar file is an archive. A folder is one if it has a manifest, or if it holds model folders (folders with a
    `config.pbtxt`); a model folder at the top of the store is an archive of its own. Hidden files and folders are not
    archives, nor is what lies inside an archive.
    """
    packed: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        segments = path.split("/")
        if any(segment.startswith(".") for segment in segments):
            continue
        if is_packed(segments[-1]):
            packed.add(path)
        elif folder := _folder_archive(segments):
            folders.add(folder)
    return sorted(name for name in packed | folders if not _is_inside(name, folders))


def _folder_archive(segments: list[str]) -> str | None:
    """The folder archive that the presence of this file proves, if it proves one."""
    *parents, file = segments
    if file == _MANIFEST and parents:
        return "/".join(parents)
    if file == _CONFIG and parents:
        return "/".join(parents[:-1] or parents)
    return None


def _is_inside(name: str, folders: set[str]) -> bool:
    segments = name.split("/")
    return any("/".join(segments[:depth]) in folders for depth in range(1, len(segments)))
