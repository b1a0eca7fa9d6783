"""The moves from which the journal is made, each of them whole or not at all. Blocking; every one raises OSError."""

import os
from pathlib import Path


class JournalFiles:
    """One folder. Names survive a power failure from `settle` on; a `remove` without it may come undone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Name the files, making the folder where it is not there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return sorted(path.name for path in self._folder.iterdir())

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        return (self._folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write a new file, and have it on the disk itself. It may be cut off by a crash."""
        with (self._folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, name: str, new_name: str) -> None:
        """Rename a file, replacing what has the new name."""
        (self._folder / name).rename(self._folder / new_name)

    def settle(self) -> None:
        """Have the folder's names on the disk itself."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, which may be gone."""
        (self._folder / name).unlink(missing_ok=True)
