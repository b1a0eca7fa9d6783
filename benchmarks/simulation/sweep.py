"""Every policy in every budget, with and without sharing, and how far each is from the optimum."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from benchmarks.simulation.bounds import floor
from benchmarks.simulation.policies import OFFLINE, POLICIES
from benchmarks.simulation.replay import next_uses, replay
from benchmarks.traffic.trace import Trace, unshared

Row = dict[str, Any]


def content_bytes(trace: Trace) -> int:
    """Bytes of everything in the trace, each part once."""
    return sum({part.digest: part.bytes for archive in trace.archives for part in archive.parts}.values())


def sweep(
    trace: Trace,
    policies: Sequence[str],
    budgets: Sequence[int],
    sharings: Sequence[bool],
    done: Callable[[str], None] = lambda _: None,
    churn_guard_s: float = 0.0,
) -> list[Row]:
    """One row per sharing, budget and policy; `done` hears after each what it was.

    The churn guard binds every policy but those that know the future.
    """
    return list(_rows(trace, policies, budgets, sharings, done, churn_guard_s))


def _rows(
    trace: Trace,
    policies: Sequence[str],
    budgets: Sequence[int],
    sharings: Sequence[bool],
    done: Callable[[str], None],
    churn_guard_s: float,
) -> Iterator[Row]:
    future = next_uses(trace.asked)
    whole = content_bytes(trace)
    for shared, budget in product(sharings, budgets):
        archives = trace.archives if shared else unshared(trace.archives)
        least = floor(trace, archives, budget)
        rows: list[Row] = []
        for policy in policies:
            guard_s = 0.0 if policy in OFFLINE else churn_guard_s
            outcome = replay(trace, archives, POLICIES[policy], budget, next_use=future, churn_guard_s=guard_s)
            rows.append(
                {
                    "policy": policy,
                    "sharing": shared,
                    "budget_bytes": budget,
                    "oversubscription": round(whole / budget, 2),
                    **outcome.document(),
                    "floor_miss_ratio": round(least.miss_ratio, 5),
                    "floor_load_seconds": round(least.load_seconds, 2),
                }
            )
            done(f"{policy}, {budget / 1e9:.0f} GB, {'shared' if shared else 'not shared'}")
        _measure_distances(rows)
        yield from rows


def _measure_distances(rows: list[Row]) -> None:
    """How many times the misses of `belady` and the load-seconds of `belady-cost`, where these were run."""
    by_policy = {row["policy"]: row for row in rows}
    for measure, reference in (("misses", "belady"), ("load_seconds", "belady-cost")):
        best = by_policy.get(reference, {}).get(measure)
        for row in rows:
            row[f"{measure}_to_{reference}"] = round(row[measure] / best, 3) if best else None


def gains(rows: list[Row]) -> list[Row]:
    """What sharing saves, per policy and budget: relative change of load-seconds and of bytes moved."""
    pairs: dict[tuple[str, int], dict[bool, Row]] = {}
    for row in rows:
        pairs.setdefault((row["policy"], row["budget_bytes"]), {})[row["sharing"]] = row
    return [
        {
            "policy": policy,
            "budget_bytes": budget,
            **{
                f"{measure}_change": round(pair[True][measure] / pair[False][measure] - 1, 4)
                for measure in ("load_seconds", "gigabytes_moved")
                if pair[False][measure]
            },
        }
        for (policy, budget), pair in pairs.items()
        if len(pair) == 2
    ]
