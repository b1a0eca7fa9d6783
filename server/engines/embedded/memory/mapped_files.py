"""Which weight files a step maps: their pages are in memory once, however many steps map the same file.

ONNX Runtime maps external data where it runs on the CPU, and uses the tensors from there that it does not pack or
convert; what it copies is the step's own. A mapping is counted as far as it reaches, since `host_memory.map_in` reads
all of it in.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from server.domain.model import NOTHING, FileSha, Step, clipped

_MAPPING: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \S+ +(/.*)$")


def mapped(step: Step, limit_bytes: int, without: Collection[FileSha] = ()) -> Mapping[FileSha, int]:
    """What this process maps of the step's weight files now, within the host bytes that the step was measured with.

    `without`: files that others only seem to map still.
    """
    directory = step.directory.resolve()
    paths = {f"{directory}/{file.path}": file.digest for file in step.weights if file.digest not in without}
    if not paths:
        return NOTHING.mapped
    spans: defaultdict[FileSha, list[tuple[int, int]]] = defaultdict(list)
    for path, first, last in _mappings():
        if path in paths:
            spans[paths[path]].append((first, last))
    return clipped({digest: _covered(each) for digest, each in spans.items()}, limit_bytes)


def _mappings() -> Iterable[tuple[str, int, int]]:
    """(path, first byte, end) of each file mapping of this process."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in maps.splitlines():
        if "/" in line and (match := _MAPPING.match(line)):
            start = int(match[3], 16)
            yield match[4], start, start + int(match[2], 16) - int(match[1], 16)


def _covered(spans: list[tuple[int, int]]) -> int:
    """Bytes in the union of the spans."""
    total = end = 0
    for first, last in sorted(spans):
        total += max(0, last - max(first, end))
        end = max(end, last)
    return total
