"""Access logs: one JSON object per line and request. The format is explained in docs/access_log.md."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np

from benchmarks.traffic.trace import Archive, Part, Trace

_TELL_EVERY: Final = 2**20


class LogUnreadableError(ValueError):
    """A line is not what docs/access_log.md says; names the line and what is wrong with it."""


def write(trace: Trace, to: TextIO) -> None:
    """Write every request; an archive's parts are told on the first line that asks for it."""
    told: set[int] = set()
    for time, index in zip(trace.times.tolist(), trace.asked.tolist(), strict=True):
        archive = trace.archives[index]
        line: dict[str, Any] = {
            "time": time,
            "archive": archive.name,
            "bytes": archive.bytes,
            "load_s": archive.load_s,
            "group": archive.group,
        }
        if index not in told:
            told.add(index)
            line["parts"] = [{"digest": p.digest, "bytes": p.bytes, "load_s": p.load_s} for p in archive.parts]
        to.write(json.dumps(line, separators=(",", ":")) + "\n")


def read_file(path: Path, read_bytes: Callable[[int], None] = lambda _: None) -> Trace:
    """Read the log at `path`; `read_bytes` hears how far it came, in bytes.

    Raises:
        LogUnreadableError: as `read`.
    """

    def lines() -> Iterable[str]:
        with path.open("rb") as file:
            pending = 0
            for line in file:
                pending += len(line)
                if pending > _TELL_EVERY:
                    read_bytes(pending)
                    pending = 0
                yield line.decode("utf-8", "replace")
            read_bytes(pending)

    return read(lines())


def read(lines: Iterable[str]) -> Trace:
    """Read a log. Lines may be slightly out of order: they are sorted by time. Blank lines are skipped.

    Raises:
        LogUnreadableError: a line is no JSON object, lacks a field or has one of the wrong kind; or there is no line.
    """
    times: list[float] = []
    asked: list[int] = []
    known = _Known()
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            if not isinstance(line, dict):
                raise TypeError("a line is a JSON object")
            times.append(_number(line["time"], "time"))
            asked.append(known.asked(line))
        except KeyError as missing:
            raise LogUnreadableError(
                f"line {number} has no {missing}; docs/access_log.md lists what it must have"
            ) from missing
        except (TypeError, ValueError) as wrong:
            raise LogUnreadableError(f"line {number}: {wrong}; docs/access_log.md shows a good one") from wrong
    if not times:
        raise LogUnreadableError("the log has no lines yet; a server writes one for each request")
    order = np.argsort(times, kind="stable")
    return Trace(np.array(times, np.float64)[order], np.array(asked, np.int64)[order], known.archives())


class _Known:
    """What the lines read so far said about archives and parts: the last word counts."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._groups: list[str] = []
        self._whole: list[Part] = []
        self._digests: list[tuple[str, ...]] = []
        self._parts: dict[str, Part] = {}

    def asked(self, line: dict[str, Any]) -> int:
        name = line["archive"]
        if not isinstance(name, str):
            raise TypeError(f"archive is {name!r}, not a name")
        whole = _part({**line, "digest": f"whole:{name}"})
        if name not in self._index:
            self._index[name] = len(self._index)
            self._groups.append("")
            self._whole.append(whole)
            self._digests.append(())
        index = self._index[name]
        self._whole[index] = whole
        self._groups[index] = str(line.get("group", ""))
        if line.get("parts"):
            parts = _parts(line["parts"])
            self._parts.update((part.digest, part) for part in parts)
            self._digests[index] = tuple(dict.fromkeys(part.digest for part in parts))
        return index

    def archives(self) -> tuple[Archive, ...]:
        return tuple(
            Archive(name, group, tuple(self._parts[digest] for digest in digests) or (whole,))
            for name, group, whole, digests in zip(self._index, self._groups, self._whole, self._digests, strict=True)
        )


def _parts(said: object) -> list[Part]:
    if not isinstance(said, list) or not all(isinstance(part, dict) for part in said):
        raise TypeError(f"parts is {said!r}, not a list of objects")
    return [_part(part) for part in said]


def _part(said: dict[str, Any]) -> Part:
    size = _number(said["bytes"], "bytes")
    load_s = _number(said["load_s"], "load_s")
    if size < 0 or load_s < 0:
        raise ValueError(f"bytes {size} and load_s {load_s} may not be negative")
    return Part(str(said["digest"]), int(size), load_s)


def _number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise TypeError(f"{field} is {value!r}, not a finite number")
    return value
