"""What a process holds of its own, and of the files of its steps. Linux; 0 elsewhere, and where the process is gone.

Shared libraries are not counted: they belong to no step, are there once for all processes, and the system can drop
them. So what a process is charged with does not change when others start or end.
"""

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

_FILE_MAPPING: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) (\S+ \d+) +(/.*)$")
"""Start, end, offset, device and inode, path."""
_OWN: Final = ("Pss_Anon:", "Pss_Shmem:")


def own_bytes(pid: int) -> int:
    """Anonymous and shared memory, divided among those who share it."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    amounts = {name: int(amount) << 10 for name, amount, *_ in (line.split() for line in rollup[1:])}
    if _OWN[0] not in amounts:  # Linux before 5.4
        return amounts.get("Pss:", 0)
    return sum(amounts.get(name, 0) for name in _OWN)


def mapped_below(directories: Iterable[Path], pid: int | None = None) -> int:
    """How many bytes of the files below any of these folders are mapped, each part of a file counted once.

    `pid`: in which process; `None`: this one.
    """
    folders = {_resolved(directory) for directory in directories}
    if not folders:
        return 0
    root = os.path.commonpath(folders)  # most lines are libraries, and fall at the first hurdle
    parts: set[tuple[str, str, int]] = set()
    for line in _maps(pid):
        match = _FILE_MAPPING.match(line) if root in line else None
        if match is not None and any(str(above) in folders for above in Path(match[5]).parents):
            parts.add((match[4], match[3], int(match[2], 16) - int(match[1], 16)))
    return sum(size for _, _, size in parts)


def _resolved(directory: Path) -> str:
    """Only what folders have in common is remembered: of thousands of steps each has one of its own."""
    if directory.is_symlink() or not directory.name or directory.name == "..":
        return str(directory.resolve())
    return f"{_resolved_parent(str(directory.parent)).rstrip('/')}/{directory.name}"


@lru_cache(maxsize=64)
def _resolved_parent(directory: str) -> str:
    return str(Path(directory).resolve())


def _maps(pid: int | None) -> list[str]:
    try:
        path = Path(f"/proc/{'self' if pid is None else pid}/maps")
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
