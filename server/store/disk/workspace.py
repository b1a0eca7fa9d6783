"""A private folder for one fetch, on the file system of the disk cache."""

from dataclasses import dataclass, field
from pathlib import Path

from server.domain.model import StepDigest


@dataclass(slots=True)
class Workspace:
    """A private folder for one fetch. It vanishes, with its reservation, when the fetch ends in whatever way."""

    path: Path
    reserved_bytes: int = 0
    borrowed: set[StepDigest] = field(default_factory=set)
    """Steps of the disk cache that are used where they lie, and stay as long as the workspace."""

    @property
    def fetched(self) -> Path:
        """Where the origin writes."""
        return self.path / "fetched"

    @property
    def steps(self) -> Path:
        """Where finished steps lie, to be adopted."""
        return self.path / "steps"
