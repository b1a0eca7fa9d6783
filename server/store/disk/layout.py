"""The cache folder: `steps/<digest>/`, `archives/<key>.json`, `tmp/`. Moves and removes; decides nothing. Blocking.

Steps come and go by renaming, so that a step is there as a whole or not at all. Every method raises OSError.
"""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from server.domain.model import StepDigest
from server.store.disk import files as disk_files
from server.store.disk.files import Measured
from server.store.disk.records import StagedRecord, dump, load
from server.store.names import file_name


@dataclass(frozen=True, slots=True)
class Recovered:
    """What an earlier server left: records (least recently used first) and all steps, also those no record holds."""

    records: tuple[StagedRecord, ...]
    steps: dict[StepDigest, Measured]


class DiskLayout:
    """Paths below one root, and the moves between them."""

    def __init__(self, root: Path, *, sharing: bool = True) -> None:
        self.root = root
        self._sharing = sharing
        self.steps = root / "steps"
        self.tmp = root / "tmp"
        self._archives = root / "archives"
        self._serial = itertools.count()

    def recover(self) -> Recovered:
        """Empty `tmp/`, read all records, and drop those whose steps are not as they were when they were placed."""
        for folder in (self.steps, self._archives, self.tmp):
            folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self.tmp.iterdir():
            remove_any(unfinished)
        steps = {StepDigest(folder.name): disk_files.measure(folder) for folder in self.steps.iterdir()}
        records = []
        for path in sorted(self._archives.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            record = self._read(path)
            if record is not None and all(_is_as_placed(record, step, steps) for step in record.stamps):
                records.append(record)
            else:
                remove_any(path)
        return Recovered(tuple(records), steps)

    def new_tmp(self, purpose: str) -> Path:
        """A path in `tmp/` that nothing else uses."""
        return self.tmp / f"{purpose}-{next(self._serial)}"

    def place(self, folder: Path, digest: StepDigest) -> None:
        """Move a finished step to its place, which must be free."""
        disk_files.move(folder, self.steps / digest)

    def discard(self, digest: StepDigest) -> Path | None:
        """Take a step away at once; the caller removes the returned folder when it has time."""
        trash = self.new_tmp("trash")
        try:
            disk_files.move(self.steps / digest, trash)
        except FileNotFoundError:  # somebody emptied the cache by hand
            return None
        return trash

    def write(self, record: StagedRecord) -> None:
        """Write a record, so that readers see the old or the new one. Raises OSError, and leaves nothing then."""
        path = self._path(record.key)
        partial = self.new_tmp("record")
        try:
            partial.write_text(dump(record, sharing=self._sharing), encoding="utf-8")
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def read(self, key: str) -> StagedRecord | None:
        """Read a record; `None` where it is missing or damaged."""
        return self._read(self._path(key))

    def erase(self, key: str) -> None:
        """Remove a record; a missing one is fine."""
        self._path(key).unlink(missing_ok=True)

    def mark_use(self, key: str, wall_ns: int) -> None:
        """Keep the time of last use as the record's mtime; a missing record is fine."""
        if self._path(key).exists():
            os.utime(self._path(key), ns=(wall_ns, wall_ns))

    def _read(self, path: Path) -> StagedRecord | None:
        try:
            record = load(path.read_text(encoding="utf-8"), self.steps, sharing=self._sharing)
        except (ValueError, OSError):
            return None
        return record if self._path(record.key) == path else None

    def _path(self, key: str) -> Path:
        return self._archives / f"{file_name(key)}.json"


def remove_any(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        disk_files.remove(path)
    else:
        path.unlink(missing_ok=True)


def _is_as_placed(record: StagedRecord, digest: StepDigest, steps: dict[StepDigest, Measured]) -> bool:
    return digest in steps and steps[digest].stamp == record.stamps[digest]
