"""The policies by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from server.residency.planning.policies.gdsf import GreedyDualSizeFrequency
from server.residency.planning.policies.lru import LeastRecentlyUsed
from server.residency.planning.policies.policy import Policy
from server.residency.planning.policies.s3_fifo import S3Fifo

POLICIES: Final[Mapping[str, Callable[[], Policy]]] = MappingProxyType(
    {policy.name: policy for policy in (LeastRecentlyUsed, GreedyDualSizeFrequency, S3Fifo)}
)
