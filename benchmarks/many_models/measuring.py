"""One variant from trace to figures: what is asked, what may be used, what is compared."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import uvloop

from benchmarks.environment import environment
from benchmarks.fleet.archives import Fleet, Form
from benchmarks.fleet.bucket import Bucket
from benchmarks.many_models.asking import schedule
from benchmarks.many_models.probing import Costs, probe
from benchmarks.many_models.references import miss_curves, references
from benchmarks.many_models.running import run
from benchmarks.many_models.scorecard import scorecard
from benchmarks.many_models.variants import Room, Variant, flags
from benchmarks.traffic.arrivals import poisson, sessions
from benchmarks.traffic.fleet import asked_of
from benchmarks.traffic.measured import describe
from benchmarks.traffic.popularity import zipf
from benchmarks.traffic.trace import Trace

_DISK_ARCHIVES: Final = 1.5
"""Without tiers the disk has room for so many times what memory has: fetches need some beside what is resident."""
_HOST_BASES: Final = 20
_PROBED_BASES: Final = 5
_ROOM_TO_WAIT: Final = 10
"""Times the requests: the server keeps shares of its places free, and a compressed day's peak waits all at once."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large the whole thing is."""

    bases: int
    heads: int
    requests: int
    days: float
    minutes: float
    budget_bases: float
    layers: int
    width: int
    seed: int
    form: Form
    slo_s: float
    timeout_s: float


def probed(endpoint: str, folder: Path, fleet: Fleet, size: Size) -> Costs:
    """What a base and a head cost here, asked of a few that are like the fleet's."""
    few = Fleet(min(_PROBED_BASES, size.bases), 2, seed=size.seed, shape=fleet.shape)
    store = Bucket(endpoint, "probe")
    store.fill(few.archives("full"))
    return uvloop.run(probe(store, folder, few, size.timeout_s))


def measured(
    variant: Variant,
    size: Size,
    fleet: Fleet,
    store: Bucket,
    folder: Path,
    costs: Costs,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Serve one variant; returns its figures, ready for JSON. `progress` hears of answers and of wrong ones."""
    trace = _trace(variant, size, fleet, costs)
    plan = schedule(trace, size.days, size.minutes * 60, seed=size.seed)
    room = Room(
        memory=int(size.budget_bases * costs.archive_bytes),
        disk=int(_DISK_ARCHIVES * size.budget_bases * costs.archive_bytes),
        host=_HOST_BASES * costs.archive_bytes,
    )
    patience = ("--request-timeout-s", f"{size.timeout_s:g}", "--load-timeout-s", f"{size.timeout_s:g}")
    arguments = (*flags(variant, room), *patience, "--max-in-flight", str(_ROOM_TO_WAIT * size.requests))
    began, busy = perf_counter(), os.getloadavg()[0]
    done = uvloop.run(run(store, folder, fleet, plan, arguments, size.timeout_s, progress))
    card = scorecard(done, plan, costs, room.memory, size.slo_s)
    against = references(trace, room.memory, sharing=variant.sharing)
    return {
        "variant": asdict(variant),
        "server_flags": list(arguments),
        "seconds": round(perf_counter() - began, 1),
        "load_average_before_and_after": [round(busy, 1), round(os.getloadavg()[0], 1)],
        **card,
        "references": against,
        "distance": _distance(card, against),
        "traffic": describe(trace) | {"compressed": round(size.days * 1440 / size.minutes, 1)},
        "miss_curves_percent": miss_curves(trace),
        "environment": environment(),
    }


def _trace(variant: Variant, size: Size, fleet: Fleet, costs: Costs) -> Trace:
    draw = sessions if variant.arrivals == "sessions" else poisson
    shares = zipf(len(fleet.members), variant.alpha)
    return asked_of(
        draw(shares, size.requests, size.days * 86400, seed=size.seed), costs.archives(fleet), seed=size.seed
    )


def _distance(card: dict[str, Any], against: dict[str, Any]) -> dict[str, float]:
    """How many times the optimum's misses, and its load-seconds at unhurried costs."""
    optimum, cheapest = against["policies"]["belady"], against["policies"]["belady-cost"]
    took = card["loads"]["unhurried_load_seconds_per_100_requests"]
    return {
        "misses_to_belady": round(card["miss_ratio"] / max(optimum["miss_ratio"], 1e-9), 3),
        "misses_to_lru": round(card["miss_ratio"] / max(against["policies"]["lru"]["miss_ratio"], 1e-9), 3),
        "load_seconds_to_belady_cost": round(took / max(cheapest["load_seconds_per_100_requests"], 1e-9), 3),
    }
