"""The tier below the devices, as residency needs it: files of steps that left, kept in the host's memory."""

from typing import Protocol

from server.domain.model import Step, StepDigest


class HostTier(Protocol):
    """Told by the driver and the loader, on the event loop. Never blocks, never raises."""

    @property
    def is_on(self) -> bool:
        """Whether it ever keeps anything."""
        ...

    def keep(self, step: Step) -> None:
        """The step leaves the devices, or will soon be wanted on one: keep its files in memory if there is room."""
        ...

    def is_kept(self, digest: StepDigest) -> bool:
        """Whether the step's files are in memory."""
        ...

    def wanted(self, digest: StepDigest) -> bool:
        """A load of the step begins: whether its files are in memory. Counted."""
        ...

    def came_back(self, digest: StepDigest) -> None:
        """The step is on a device again."""
        ...


class NoHostTier:
    """Keeps nothing."""

    is_on = False

    def keep(self, step: Step) -> None:
        """Nothing."""

    def is_kept(self, digest: StepDigest) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def wanted(self, digest: StepDigest) -> bool:  # noqa: ARG002
        """Never in memory."""
        return False

    def came_back(self, digest: StepDigest) -> None:
        """Nothing."""
