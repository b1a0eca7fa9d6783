"""What a server process holds in memory, seen from outside.

The ledger charges a step with what it adds to the process's anonymous memory, and with the pages of its own files that
stay mapped. So that is what is measured here: anonymous memory, and mapped pages of files below the disk cache. Growth
since a start is compared, since the interpreter and its libraries belong to no step.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$")
_MB = 1e6


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Bytes. `rss` is everything that is in memory, shared libraries included."""

    rss: int
    anonymous: int

    def grown_since(self, start: "ProcessMemory") -> int:
        """Growth of all that is resident."""
        return self.rss - start.rss

    def __str__(self) -> str:
        return f"rss {self.rss / _MB:.1f} MB, anonymous {self.anonymous / _MB:.1f} MB"


def memory_of(pid: int) -> ProcessMemory:
    """Measure now, exactly: the kernel walks the page tables, some milliseconds."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    fields = {
        name: int(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in rollup.splitlines()[1:])
    }
    return ProcessMemory(fields["Rss"], fields["Anonymous"])


def mapped_files(pid: int, below: Path) -> int:
    """Resident bytes of mapped files below a folder, those that were deleted meanwhile included."""
    total, is_counted = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if found := _MAPPING.match(line):
            is_counted = found[1].startswith(f"{below}/")
        elif is_counted and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total
