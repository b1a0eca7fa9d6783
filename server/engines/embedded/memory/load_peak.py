"""What a load holds in passing, above what its step is charged with afterwards. For the ledger to tell, not to charge.

Where it comes from (ONNX Runtime 1.31; a graph of 64 MB with one matrix, and MiniLM with its 90 MB):
- Weights inside the ONNX file are parsed, then copied, then packed: 128 MB and 139 MB at the worst moment, 65 MB and
  92 MB in the end. The options that promise less (device allocator for initialisers, no arena) change nothing; without
  packing the peak is the same and each inference slower. `host_memory.weights_apart` keeps it at twice the weights.
- Weights in a file beside it are mapped, and only what is packed is read and copied, matrix by matrix: 47 MB for
  MiniLM with 45 MB in the end, before the rest is mapped in. Archives of our own builders have no peak to speak of.

Mapping the weights inside an ONNX file would do the same for all others. But the file may be the user's own, linked,
not copied: whoever overwrote it in place would end the server by SIGBUS. So their peak is told instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from server.domain.model import Step, StepDigest
from server.engines.embedded.memory import host_memory
from server.engines.passing_bytes import guessed

_MOST_REMEMBERED: Final = 1_000
_PACKER_BYTES: Final = 64 << 20
"""An interpreter with numpy and ONNX Runtime."""


class LoadPeaks:
    """Loads may run side by side, but only one that runs alone measures. Read from any thread."""

    def __init__(self) -> None:
        self._measured: dict[StepDigest, int] = {}
        self._current: dict[object, int] = {}

    @property
    def current(self) -> int:
        """What the loads under way may hold at their worst moment above their later charge, in bytes; 0 without one."""
        return sum(list(self._current.values()))

    @contextmanager
    def during(self, step: Step) -> Iterator["Peak"]:
        """Around a load: predicts, then measures (the process's peak, from which the caller's charge is taken)."""
        peak = Peak()
        self._current[peak] = self.predicted(step)
        try:
            yield peak
            if peak.passing is not None:
                self._remember(step.digest, peak.passing)
        finally:
            del self._current[peak]

    @contextmanager
    def packing(self, step: Step) -> Iterator[None]:
        """While the weights of a loaded step are packed: a process of its own reads, packs and maps them meanwhile."""
        mark = object()
        self._current[mark] = guessed(step) + 2 * step.file_bytes + _PACKER_BYTES
        try:
            yield
        finally:
            del self._current[mark]

    def predicted(self, step: Step) -> int:
        """What an earlier load of the step showed, or a guess from its files."""
        measured = self._measured.get(step.digest)
        return guessed(step) if measured is None else measured

    def _remember(self, digest: StepDigest, passing: int) -> None:
        self._measured.pop(digest, None)
        self._measured[digest] = passing
        if len(self._measured) > _MOST_REMEMBERED:
            del self._measured[next(iter(self._measured))]


class Peak:
    """The process's memory. `passing` is what was held above the charge; `None` where nothing measured it."""

    def __init__(self) -> None:
        self._before: int | None = None
        self.passing: int | None = None

    def begin(self) -> None:
        """Measure from now on."""
        self._before = host_memory.resident_bytes() if host_memory.forget_peak() else None

    def charged(self, amount: int) -> None:
        """The load is over, and the step is charged with so many bytes."""
        if self._before is not None:
            self.passing = max(0, host_memory.peak_bytes() - self._before - amount)
