"""Where measured footprints survive a restart: one line of JSON for each measurement, the last one of a step counts.

Lines are added, so that a measurement costs one small write and is safe at once, however the process ends. The file is
written anew where it has become more history than state. Its first line names the engine that was measured: another
one, or another version of it, may take more or less, and what it says is then forgotten.
"""

import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from server.domain.model import NOTHING, Device, FileSha, StepDigest

_log = logging.getLogger(__name__)
FORMAT: Final = 2
_HISTORY: Final = 1000
"""So many lines that nobody needs are left in peace."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What loading a step showed. Bytes by device, seconds, and which of the host bytes are mapped weight files."""

    digest: StepDigest
    bytes_by_device: Mapping[Device, int]
    load_s: float
    mapped: Mapping[FileSha, int] = field(default_factory=lambda: NOTHING.mapped)
    is_outgrown: bool = False
    """The bytes are a guess: the load ran out of memory."""


class FootprintFile:
    """The file. Not knowing it is no harm: it is a cache, and unreadable lines are ignored."""

    def __init__(self, path: Path, engine: str = "") -> None:
        """`engine`: whose measurements these are."""
        self._path = path
        self._head = json.dumps({"format": FORMAT, **({"engine": engine} if engine else {})}) + "\n"
        self._lock = threading.Lock()
        self._lines = 0
        """How many measurements the file holds; -1 where it is none of ours and must be replaced."""

    def read(self) -> list[Measurement]:
        """Every measurement, oldest first. Blocks."""
        try:
            head, *lines = self._path.read_text().splitlines(keepends=True) or [""]
        except (OSError, UnicodeDecodeError):
            self._lines = -1
            return []
        is_whole = head == self._head and all(line.endswith("\n") for line in lines)
        self._lines = len(lines) if is_whole else -1
        return list(_measurements(lines)) if head == self._head else []

    def is_mostly_history(self, known: int) -> bool:
        """Whether the file should rather be written anew, with the `known` measurements that count."""
        return self._lines < 0 or self._lines > 2 * known + _HISTORY

    def add(self, measurements: Sequence[Measurement]) -> None:
        """Add to the end. Blocks; a failure is made good by the next write, which then replaces the file."""
        with self._writing():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write("".join([*([] if file.tell() else [self._head]), *map(_line, measurements)]))
            self._lines += len(measurements)

    def replace(self, measurements: Sequence[Measurement]) -> None:
        """Write anew. Blocks; fails as `add`."""
        with self._writing():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_name(self._path.name + ".draft")
            draft.write_text("".join([self._head, *map(_line, measurements)]))
            draft.replace(self._path)
            self._lines = len(measurements)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except OSError as error:
                self._lines = -1
                _log.debug("footprints were not saved: %s", error)


def _line(each: Measurement) -> str:
    entry: dict[str, Any] = {"step": each.digest, "bytes": dict(each.bytes_by_device), "load_s": round(each.load_s, 4)}
    if each.mapped:
        entry["mapped"] = dict(each.mapped)
    if each.is_outgrown:
        entry["outgrown"] = True
    return json.dumps(entry) + "\n"


def _measurements(lines: Iterable[str]) -> Iterator[Measurement]:
    for line in lines:
        try:
            entry: Any = json.loads(line)
            amounts = {str(device): int(amount) for device, amount in entry["bytes"].items()}
            mapped = {FileSha(file): int(amount) for file, amount in entry.get("mapped", {}).items()}
            is_outgrown = bool(entry.get("outgrown"))
            yield Measurement(StepDigest(entry["step"]), amounts, float(entry["load_s"]), mapped, is_outgrown)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
