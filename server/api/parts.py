"""What the HTTP side is made of; `main.py` puts it together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

from server.api.restricted import Restrictions
from server.domain.clock import Clock, SystemClock
from server.domain.payload import InferenceType
from server.jobs.async_jobs import AsyncJobs
from server.residency.residency import Residency
from server.serving.address import AddressBook
from server.serving.dispatcher import Dispatcher
from server.serving.model_control import ModelControl
from server.telemetry.metrics import Metrics

NO_FACTS: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Limits and manners of the HTTP side."""

    max_body_bytes: int = 64 * 1024**2
    """Largest body, before and after inflating; Triton's own default limit."""
    version: str = "0"
    """The server's version, for people."""
    restrictions: Restrictions = field(default_factory=dict)
    """Which groups of calls need which header."""
    default_accept: str = ""
    """Media type for SageMaker's callers who send no Accept; "" leaves it to the codec."""
    inference_type: InferenceType = "infer"
    """What `/invocations` and the runtime's endpoints mean; `/models` always infers."""


class InferenceParts(Protocol):
    """What inference requests alone need of the parts."""

    @property
    def dispatcher(self) -> Dispatcher:
        """The one road."""
        ...

    @property
    def addresses(self) -> AddressBook:
        """Which archive is meant."""
        ...

    @property
    def options(self) -> HttpOptions:
        """Limits and manners."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the surfaces call."""

    dispatcher: Dispatcher
    addresses: AddressBook
    models: ModelControl
    residency: Residency
    metrics: Metrics
    is_ready: Callable[[], bool]
    """Whether `/ping` is 200: preloaded, engine up, not draining. Must not block."""
    options: HttpOptions = field(default_factory=HttpOptions)
    facts: Callable[[], Mapping[str, object]] = lambda: NO_FACTS
    """What to show about the server and its engine."""
    tiers: Callable[[], Mapping[str, object]] = lambda: NO_FACTS
    """What to show about the tiers below the devices."""
    jobs: AsyncJobs | None = None
    """Asynchronous inference, where it is switched on."""
    clock: Clock = field(default_factory=SystemClock)
    """For times that are told to clients."""
