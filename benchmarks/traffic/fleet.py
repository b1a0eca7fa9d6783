"""Thousands of archives made from few bases and many heads."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.traffic.arrivals import Arrivals
from benchmarks.traffic.trace import Archive, Part, Trace

_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Family:
    """Sizes and load times of a kind of model."""

    name: str
    base_mb: float
    base_load_s: float
    head_mb: float
    head_load_s: float


FAMILIES: Final = (
    Family("sentence-embedding", 120, 1.5, 8, 0.1),
    Family("image-classification", 123, 1.3, 6, 0.1),
    Family("text-classification", 503, 1.5, 12, 0.15),
    Family("zero-shot-classification", 1638, 4.6, 12, 0.15),
    Family("segment-anything", 419, 14.0, 20, 0.2),
    Family("stable-diffusion", 4000, 8.0, 150, 1.0),
)
"""Bytes of the bases of the four in the middle were measured (`results/full_size.json`, charged_gb), and so were the
load times of classification and zero-shot (first answer less next answer, on a CPU). The others, and all heads, are
assumptions in the range that GPU hosts report. A log of a real host replaces them all."""


def fleet(bases: int, heads: int, *, seed: int, groups: int = 20) -> tuple[Archive, ...]:
    """`bases` x `heads` archives: the families take turns as bases, heads vary by half in size and load time.

    An archive's name begins with its group (the tenant). Groups are drawn, so that tenants share bases.
    """
    rng = np.random.default_rng(seed)
    archives = []
    for number in range(bases):
        family = FAMILIES[number % len(FAMILIES)]
        base = Part(f"base-{number:03}", int(family.base_mb * _MB), family.base_load_s)
        for index in range(heads):
            scale = float(rng.uniform(0.5, 1.5))
            group = f"tenant-{int(rng.integers(groups)):02}"
            name = f"{family.name}-{number:03}-head-{index:04}"
            head = Part(name, int(family.head_mb * scale * _MB), round(family.head_load_s * scale, 4))
            archives.append(Archive(f"{group}/{name}.tar.gz", group, (base, head)))
    return tuple(archives)


def asked_of(arrivals: Arrivals, archives: tuple[Archive, ...], *, seed: int) -> Trace:
    """The arrivals as a trace of these archives, ranks being dealt at random over bases and heads."""
    dealt = np.random.default_rng((seed, 1)).permutation(len(archives))
    return Trace(arrivals.times, dealt[arrivals.ranks], archives)
