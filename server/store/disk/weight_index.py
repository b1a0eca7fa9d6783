"""Which steps of the disk cache have which weight file: the layer below the steps, by content. Pure bookkeeping.

The files themselves lie in the steps, as hard links to one inode. So there is nothing to repair after a crash, the file
goes with the last step that has it, and the ledger, which counts inodes, counts it once.
"""

from collections.abc import Iterable

from server.domain.model import FileSha, StepDigest, WeightFile


class WeightIndex:
    """Weight files by digest."""

    def __init__(self) -> None:
        self._places: dict[FileSha, dict[StepDigest, str]] = {}
        self._weights: dict[StepDigest, tuple[WeightFile, ...]] = {}

    def add(self, step: StepDigest, weights: tuple[WeightFile, ...]) -> None:
        """A step is on the disk, or known better than before."""
        self.remove(step)
        if weights:
            self._weights[step] = weights
        for file in weights:
            self._places.setdefault(file.digest, {})[step] = file.path

    def remove(self, step: StepDigest) -> None:
        """A step is on the disk no longer; unknown ones are ignored."""
        for file in self._weights.pop(step, ()):
            places = self._places.get(file.digest, {})
            places.pop(step, None)
            if not places:
                self._places.pop(file.digest, None)

    def digest_of(self, step: StepDigest, path: str) -> FileSha | None:
        """The content of one of the step's weight files; `None` for what is none."""
        return next((file.digest for file in self._weights.get(step, ()) if file.path == path), None)

    def places(self, file: FileSha) -> Iterable[tuple[StepDigest, str]]:
        """The steps that have the file, and where in their folders."""
        return tuple(self._places.get(file, {}).items())
