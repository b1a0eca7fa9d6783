"""What this process holds in host memory, and how freed memory gets back to the system. Linux with glibc; else no-ops.

The measure of a step is what it adds to the *anonymous* memory of the process (weights that the runtime copied,
packed or computed, its graph, its buffers) plus the pages of the step's own files that stay mapped (weights that the
runtime uses straight from the page cache). Shared libraries are not counted: they belong to no step.

Not here: deciding what fits. That is residency's.
"""

import ctypes
import gc
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_MADV_POPULATE_READ: Final = 22

# Blocks above this come from mmap, and each use faults their pages in again: with 128 KiB (glibc's start value) a
# MiniLM batch of 8 x 32 tokens takes 1.5 times as long as with 8 MiB. Much more than that only fragments the heap:
# after batches of 32 x 128 tokens 32 MiB keeps twice as much memory, and is no faster.
_MMAP_THRESHOLD_BYTES: Final = 8 << 20
_WEIGHTS_MMAP_THRESHOLD_BYTES: Final = 2 << 20
_TRIM_THRESHOLD_BYTES: Final = 32 << 20
# malloc_trim gives back the top of the main arena only; with one arena, that is all of it.
_ARENA_MAX: Final = 1

_MAPPING: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ +(/.*)$")
_weights_lock: Final = threading.Lock()
_weights_count: Final = [0]  # loads under way: the setting below is the whole process's


@cache
def _libc() -> ctypes.CDLL:
    """Opened once: each opening leaves a class behind for the garbage collector. Raises OSError."""
    return ctypes.CDLL(None)


def tune_allocator() -> None:
    """Make malloc keep scratch memory for reuse, in one place, from where `release_free_memory` can give it back."""
    with suppress(OSError, AttributeError):
        libc = _libc()
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)
        libc.mallopt(_M_ARENA_MAX, _ARENA_MAX)


@contextmanager
def weights_apart() -> Iterator[None]:
    """Around the load of weights: large blocks leave the heap, so that what is freed on the way is given back at once.

    A graph of 8 MB with its weights inside peaks at 16 MB this way, and at 21 MB (in a server that has run for a while
    at 27 MB) without. Not smaller blocks: each is a mapping, of which a process may have 65,530.
    """
    with _weights_lock:
        _weights_count[0] += 1
        _set_mmap_threshold(_WEIGHTS_MMAP_THRESHOLD_BYTES)
    try:
        yield
    finally:
        with _weights_lock:
            _weights_count[0] -= 1
            if not _weights_count[0]:
                _set_mmap_threshold(_MMAP_THRESHOLD_BYTES)


def _set_mmap_threshold(threshold: int) -> None:
    with suppress(OSError, AttributeError):
        _libc().mallopt(_M_MMAP_THRESHOLD, threshold)


def release_free_memory() -> None:
    """Give every page that malloc holds without need back to the system."""
    with suppress(OSError, AttributeError):
        _libc().malloc_trim(0)


def collect_and_release() -> None:
    """Collect Python's garbage first, then give the pages back."""
    gc.collect()
    release_free_memory()


def anonymous_bytes() -> int:
    """Bytes of anonymous memory of this process, exactly (the counters in `status` lag behind). 0 where unknown."""
    try:
        rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in rollup.splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> bool:
    """Let `peak_bytes` count from now on. Returns whether this system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """The most that was resident since `forget_peak`, to within a page for each thread. 0 where unknown."""
    return _status_bytes("VmHWM:")


def resident_bytes() -> int:
    """What is resident now, files' mapped pages included. 0 where unknown."""
    return _status_bytes("VmRSS:")


def _status_bytes(field: str) -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(field)), 0)


def map_in(directory: Path) -> int:
    """Read every mapped page of the files under `directory` in now; return how many bytes they are.

    Without this the pages come one by one with the requests: later, slower, and after the footprint was measured.
    """
    total = 0
    for start, end in _mappings_of(directory):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).madvise(
                ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_POPULATE_READ
            )
        total += end - start
    return total


def _mappings_of(directory: Path) -> Iterator[tuple[int, int]]:
    prefix = f"{directory.resolve()}/"
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in maps.splitlines():
        if prefix in line and (match := _MAPPING.match(line)) and match[3].startswith(prefix):
            yield int(match[1], 16), int(match[2], 16)
