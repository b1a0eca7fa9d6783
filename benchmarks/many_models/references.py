"""The same trace and budget, replayed without a server: what each policy and the offline optimum would have missed."""

from typing import Any, Final

from benchmarks.many_models.probing import Costs
from benchmarks.simulation.bounds import floor
from benchmarks.simulation.policies import POLICIES
from benchmarks.simulation.replay import next_uses, replay
from benchmarks.traffic.trace import Trace, equal, unshared

COMPARED: Final = ("lru", "gdsf", "s3-fifo", "belady", "belady-cost")
SLOTS: Final = (4, 8, 16, 32, 64)


def references(trace: Trace, budget: int, *, sharing: bool) -> dict[str, Any]:
    """Misses and load-seconds per policy, with the costs that the trace's archives carry; and the floors."""
    archives = trace.archives if sharing else unshared(trace.archives)
    future = next_uses(trace.asked)
    rows = {}
    for policy in COMPARED:
        outcome = replay(trace, archives, POLICIES[policy], budget, next_use=future)
        rows[policy] = {
            "miss_ratio": round(outcome.miss_ratio, 5),
            "load_seconds_per_100_requests": round(100 * outcome.load_seconds / max(len(trace), 1), 4),
            "megabytes_loaded": round(outcome.bytes_moved / 1e6, 1),
        }
    least = floor(trace, archives, budget)
    return {
        "policies": rows,
        "floor_miss_ratio": round(least.miss_ratio, 5),
        "floor_load_seconds_per_100_requests": round(100 * least.load_seconds / max(len(trace), 1), 4),
    }


def miss_curves(trace: Trace) -> dict[str, Any]:
    """The trace's own certificate: misses in percent of LRU and of the optimum at so many equal slots."""
    future = next_uses(trace.asked)
    archives = equal(len(trace.archives))
    return {
        "slots": list(SLOTS),
        **{
            policy: [
                round(100 * replay(trace, archives, POLICIES[policy], slots, next_use=future).miss_ratio, 1)
                for slots in SLOTS
            ]
            for policy in ("lru", "belady")
        },
    }


def modelled_load_seconds(base_loads: float, head_loads: float, costs: Costs) -> float:
    """What the loads that happened would have taken unhurried: to be compared with `references`."""
    return base_loads * costs.base_load_s + head_loads * costs.head_load_s
