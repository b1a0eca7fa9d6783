"""What an engine holds in memory at one moment, as it was measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from server.domain.model import Device, StepDigest


@dataclass(frozen=True, slots=True)
class Sighting:
    """A measurement at a moment at which nothing was being loaded or unloaded.

    `steps` were in memory. `held` are the bytes per device that the engine's processes took; `overhead` is the part of
    it that was there without any step. `is_disturbed`: requests ran, whose scratch memory is in it.
    """

    steps: frozenset[StepDigest]
    held: Mapping[Device, int]
    overhead: Mapping[Device, int]
    is_disturbed: bool = False
