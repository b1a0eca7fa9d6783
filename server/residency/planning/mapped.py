"""Which steps map which weight file, and how many bytes that makes. Pure bookkeeping.

A mapped file's pages are in memory once, however many steps map it: it counts with the most that any of them maps.
"""

from collections.abc import Mapping
from typing import TypeAlias

from server.domain.model import FileSha, Footprint, StepDigest

Sharers: TypeAlias = dict[StepDigest, int]
"""The steps that map a file, and how many of its bytes."""


class MappedFiles:
    """What is mapped now; or, `over` another one, what would be: that one stays as it is."""

    def __init__(self, over: "MappedFiles | None" = None) -> None:
        self._over = over
        self._files: dict[FileSha, Sharers] = {}

    def map(self, step: StepDigest, footprint: Footprint) -> int:
        """The step is in memory. Returns the host bytes that it does not bring along, since they are there already."""
        return sum(amount - self._change(file, step, amount) for file, amount in footprint.mapped.items())

    def unmap(self, step: StepDigest, footprint: Footprint) -> int:
        """The step is gone; unknown ones are ignored. Returns the host bytes of it that stay, since others map them."""
        return sum(amount + self._change(file, step, 0) for file, amount in footprint.mapped.items())

    def sharers(self, file: FileSha) -> Mapping[StepDigest, int]:
        """The steps that map the file."""
        found = self._files.get(file)
        if found is None:
            return self._over.sharers(file) if self._over is not None else {}
        return found

    def shared_bytes(self, footprint: Footprint) -> int:
        """Host bytes of a step's footprint that are in files which others map too."""
        return sum(amount for file, amount in footprint.mapped.items() if len(self.sharers(file)) > 1)

    def files(self) -> list[FileSha]:
        """Every file that is mapped."""
        return list(self._files)

    def _change(self, file: FileSha, step: StepDigest, amount: int) -> int:
        """The step maps so many bytes of the file from now on. Returns by how many more the file counts."""
        sharers = self._own(file)
        before = max(sharers.values(), default=0)
        if amount:
            sharers[step] = amount
        else:
            sharers.pop(step, None)
        if not sharers and self._over is None:
            del self._files[file]
        return max(sharers.values(), default=0) - before

    def _own(self, file: FileSha) -> Sharers:
        if file not in self._files:
            self._files[file] = dict(self._over.sharers(file)) if self._over is not None else {}
        return self._files[file]
