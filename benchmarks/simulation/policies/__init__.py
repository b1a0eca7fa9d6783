"""The policies to compare, by name. To add one: write a file with a class, add a line."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from benchmarks.simulation.policies.fifo import Fifo
from benchmarks.simulation.policies.gdsf import Gdsf
from benchmarks.simulation.policies.lru import Lru
from benchmarks.simulation.policies.offline import belady, belady_cost
from benchmarks.simulation.policies.policy import Load, Policy, Setting
from benchmarks.simulation.policies.s3_fifo import S3Fifo

POLICIES: Final[Mapping[str, Callable[[Setting], Policy]]] = MappingProxyType(
    {"fifo": Fifo, "lru": Lru, "s3-fifo": S3Fifo, "gdsf": Gdsf, "belady": belady, "belady-cost": belady_cost}
)
OFFLINE: Final = frozenset({"belady", "belady-cost"})
"""Those that know the future."""

__all__ = ["OFFLINE", "POLICIES", "Load", "Policy", "Setting"]
