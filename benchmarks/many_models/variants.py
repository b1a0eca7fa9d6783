"""What is compared: one way to serve the trace, and what differs from it, one thing at a time."""

import subprocess
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from benchmarks.load.processes import ROUNDHOUSE


@dataclass(frozen=True, slots=True)
class Variant:
    """How the trace is made, and how it is served."""

    name: str
    about: str
    sharing: bool = True
    tiers: bool = True
    prefetch: bool = False
    policy: str = "lru"
    arrivals: str = "sessions"
    alpha: float = 0.9


@dataclass(frozen=True, slots=True)
class Room:
    """What a variant may use. Bytes."""

    memory: int
    disk: int
    """The disk cache's quota where tiers are off: evicted archives leave the disk."""
    host: int
    """The host tier's budget where archives are prefetched."""


_ALL: Final = (
    Variant("main", "parts shared, evicted archives stay on disk, lru, sessions, Zipf 0.9"),
    Variant("apart", "nothing shared: --sharing false", sharing=False),
    Variant("no-tiers", "evicted archives leave the disk: a small --disk-quota, no host tier", tiers=False),
    Variant("prefetch", "--prefetch on, with a host tier for all bases", prefetch=True),
    Variant("gdsf", "--policy gdsf", policy="gdsf"),
    Variant("poisson", "independent requests at a constant rate (pessimistic)", arrivals="poisson"),
    Variant("zipf-1.43", "popularity as in a production fleet", alpha=1.43),
)
VARIANTS: Final = MappingProxyType({variant.name: variant for variant in _ALL})
DONE_WHEN: Final = ("main", "apart", "no-tiers")
"""What the figures of sharing and tiers need."""


def flags(variant: Variant, room: Room) -> tuple[str, ...]:
    """The server's flags that make the variant. Raises RuntimeError where this server lacks one that it takes."""
    chosen = ["--policy", variant.policy, "--memory-budget", str(room.memory)]
    if not variant.sharing:
        chosen += [_known("--sharing"), "false"]
    if variant.prefetch:
        chosen += [_known("--prefetch"), "on", _known("--host-tier"), str(room.host)]
    if not variant.tiers:
        chosen += ["--disk-quota", str(room.disk), _known("--host-tier"), "0"]
    return tuple(chosen)


def _known(flag: str) -> str:
    if flag not in _known_flags():
        raise RuntimeError(f"this server lacks {flag}, without which the variant would be another one")
    return flag


@cache
def _known_flags() -> frozenset[str]:
    told = subprocess.run([str(ROUNDHOUSE), "serve", "--help"], capture_output=True, text=True, check=True).stdout
    return frozenset(word.rstrip(",") for word in told.split() if word.startswith("--"))
