"""The policies by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from server.residency.policies.gdsf import GreedyDualSizeFrequency
from server.residency.policies.lru import LeastRecentlyUsed
from server.residency.policies.policy import Policy
from server.residency.policies.s3_fifo import S3Fifo

POLICIES: Final[Mapping[str, Callable[[], Policy]]] = MappingProxyType(
    {policy.name: policy for policy in (LeastRecentlyUsed, GreedyDualSizeFrequency, S3Fifo)}
)
