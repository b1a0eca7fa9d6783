"""What a cold start is made of, in seconds and bytes: staging and loading fill it, people and metrics read it.

A cold start ends with the first inference, which is not here: each request that waited has its own.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Staging:
    """Bringing an archive's content to local disk. All zeros where it lay there already."""

    fetch_s: float = 0.0
    """Copying it from the store."""
    unpack_s: float = 0.0
    """Inflating and writing; where the digests are computed on the way, they are in here."""
    digest_s: float = 0.0
    """Reading files (again) to hash them."""
    place_s: float = 0.0
    """Everything else: reading configs, checking, linking the steps into the cache."""
    fetched_bytes: int = 0
    unpacked_bytes: int = 0

    @property
    def total_s(self) -> float:
        """All phases; they follow one another."""
        return self.fetch_s + self.unpack_s + self.digest_s + self.place_s


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """What an engine took for one step."""

    load_s: float = 0.0
    """The whole load, without waiting for another one to end."""
    warm_up_s: float = 0.0
    """The part of it that the config's `model_warmup` took."""


@dataclass(frozen=True, slots=True)
class StepStart:
    """One step that was loaded for an archive: what it took in the engine, and how large its files are."""

    name: str
    times: LoadTimes
    file_bytes: int


@dataclass(frozen=True, slots=True)
class ColdStart:
    """How one archive became resident. Steps that were resident already are not in `steps`."""

    staging: Staging
    load_s: float
    """From its admission to its last step's end; steps that load side by side count once."""
    steps: tuple[StepStart, ...]

    @property
    def warm_up_s(self) -> float:
        """What its steps' warm-ups took, added up."""
        return sum(step.times.warm_up_s for step in self.steps)


NOT_STAGED: Final = Staging()
NOT_TIMED: Final = LoadTimes()
