"""What the dispatcher asks of others: to lease, to run, and to hear what became of requests. `main.py` hands it in."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import StagedArchive
from server.residency.leases import Lease

Infer: TypeAlias = Callable[[StagedArchive, InferenceRequest], Awaitable[InferenceResponse]]
"""Runs a request through an archive's entry model. Raises as `Engine.infer`."""


class InvocationLog(Protocol):
    """Who wants to know of every request (the metrics)."""

    def served(self, name: str, is_hit: bool, waited_s: float, infer_s: float, total_s: float) -> None:
        """Note a request that was answered."""
        ...

    def failed(self, name: str, error: Exception, total_s: float) -> None:
        """Note a request that met an error, or was not admitted."""
        ...

    def left(self, name: str, total_s: float) -> None:
        """Note a request whose caller did not wait for the answer."""
        ...


class Leases(Protocol):
    """Who leases archives (residency; in a front-end worker, what it was lent)."""

    def try_lease(self, name: str) -> Lease | None:
        """See `Residency.try_lease`."""
        ...

    async def lease(self, name: str, timeout_s: float, patience_s: float = 0.0) -> Lease:
        """See `Residency.lease`."""
        ...
