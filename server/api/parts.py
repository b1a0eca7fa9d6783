"""What the HTTP side is made of; `main.py` puts it together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

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
