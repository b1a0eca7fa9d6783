"""What residency tells whoever counts: metrics, logs. Called on the event loop, so be quick and do not raise."""

from typing import Protocol

from server.domain.cold_start import ColdStart, LoadTimes
from server.domain.model import Device, Step


class ResidencyObserver(Protocol):
    """Learns what happens, archive by archive."""

    def hit(self, name: str) -> None:
        """A lease on an archive that was resident."""
        ...

    def miss(self, name: str, warmth: str) -> None:
        """A lease that had to wait; `warmth` is how far it came: `shared`, `host`, `disk` or `store`."""
        ...

    def loaded(self, name: str, start: ColdStart) -> None:
        """An archive became resident, and this is what it took."""
        ...

    def step_loaded(self, step: Step, times: LoadTimes) -> None:
        """The engine loaded a step."""
        ...

    def evicted(self, name: str, reason: str) -> None:
        """An archive left memory, or is about to."""
        ...

    def unloaded(self, name: str, unload_s: float) -> None:
        """A step that the archive let go last is out of memory: seconds in the engine."""
        ...

    def failed(self, name: str, reason: str) -> None:
        """An archive could not be staged or loaded; `reason` is the name of the error."""
        ...

    def charged(self, device: Device, charged_bytes: int, budget_bytes: int) -> None:
        """A device's charge changed."""
        ...

    def observed(self, device: Device, expected_bytes: int, observed_bytes: int, is_leaking: bool) -> None:
        """The memory was measured while nothing was loaded: what it should have been, what it was."""
        ...


class NobodyWatches:
    """The observer that does nothing."""

    def hit(self, name: str) -> None:
        """Nothing."""

    def miss(self, name: str, warmth: str) -> None:
        """Nothing."""

    def loaded(self, name: str, start: ColdStart) -> None:
        """Nothing."""

    def step_loaded(self, step: Step, times: LoadTimes) -> None:
        """Nothing."""

    def evicted(self, name: str, reason: str) -> None:
        """Nothing."""

    def unloaded(self, name: str, unload_s: float) -> None:
        """Nothing."""

    def failed(self, name: str, reason: str) -> None:
        """Nothing."""

    def charged(self, device: Device, charged_bytes: int, budget_bytes: int) -> None:
        """Nothing."""

    def observed(self, device: Device, expected_bytes: int, observed_bytes: int, is_leaking: bool) -> None:
        """Nothing."""
