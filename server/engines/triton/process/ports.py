"""Where one run of tritonserver listens: its HTTP for us alone, its gRPC for us alone or for others too."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from server.engines.triton.options import TritonOptions
from server.engines.triton.process.flags import LOOPBACK
from server.engines.triton.process.server_process import free_ports

_EVERYWHERE: Final = {"0.0.0.0", "::", ""}  # noqa: S104 - only compared


@dataclass(frozen=True, slots=True)
class Ports:
    """`secret` is what our own gRPC calls carry; "" where nobody else can call."""

    http: int
    grpc: int
    grpc_address: str = LOOPBACK
    secret: str = ""

    @property
    def grpc_target(self) -> str:
        """Where our own gRPC calls go."""
        return f"{LOOPBACK if self.grpc_address in _EVERYWHERE else self.grpc_address}:{self.grpc}"


def choose(options: TritonOptions) -> Ports:
    """Find ports for a run. Raises OSError where the range that they may be in is full."""
    if options.grpc is None:
        http, grpc = _free(2, options.safe_ports)
        return Ports(http, grpc)
    address, port = options.grpc
    allowed = None if options.safe_ports is None else [each for each in options.safe_ports if each != port]
    (http,) = _free(1, allowed)
    return Ports(http, port, address, secrets.token_hex(16))


def _free(count: int, among: Sequence[int] | None) -> list[int]:
    # From the end: neighbours in the same network (containers of one endpoint) begin at the start of the range.
    return free_ports(count) if among is None else free_ports(count, among[::-1])
