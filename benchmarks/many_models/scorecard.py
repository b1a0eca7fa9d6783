"""The figures of a run, ready for JSON; and what of the published scorecard a host without GPUs cannot say."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.many_models.asking import Schedule
from benchmarks.many_models.probing import Costs
from benchmarks.many_models.references import modelled_load_seconds
from benchmarks.many_models.running import Run
from benchmarks.many_models.trend import growth
from benchmarks.many_models.watching import Sample

NOT_HERE: Final = {
    "models_per_gpu": "no GPU: `density` has the archives that share the host's budget instead",
    "goodput_from_1x_to_10x": "one budget per run: `goodput` has this one's; `--budget-bases` sets another",
    "overhead_over_bare_triton": "benchmarks/results/overhead.json has the router against Triton and the bare engine",
    "dollars_per_1000_requests": "no price list here, and no GPU hours to price",
}
"""Numbers of the scorecard that this scenario leaves out, with the reason."""
_MB: Final = 1e6
_STAGING: Final = ("fetch", "unpack", "digest", "place")


def scorecard(run: Run, plan: Schedule, costs: Costs, budget: int, slo_s: float) -> dict[str, Any]:
    """Everything but the references.

    `miss_ratio` counts loads, as replays do; `waited_ratio` counts answers that waited for one, which several may do.
    """
    waited = (run.warmth != "resident") & run.is_right
    loads = _loads(run, costs)
    return {
        "requests": len(plan),
        "failed": int(len(plan) - run.is_right.sum()),
        "problems": dict(run.problems),
        "first_problems": run.shown,
        "latency_ms": _spread(run.latency_s),
        "cold_start_ms_by_tier": {
            str(tier): _spread(run.latency_s[(run.warmth == tier) & run.is_right])
            for tier in sorted(set(run.warmth[run.is_right].tolist()))
        },
        "waited_ratio": round(float(waited.sum() / max(run.is_right.sum(), 1)), 5),
        "miss_ratio": round(loads["archives_loaded"] / max(len(plan), 1), 5),
        "loads": loads,
        "moved_mb": _moved(run),
        "memory": _memory(run.samples, run.baseline_bytes, budget),
        "density": _density(run, plan),
        "goodput": _goodput(run, plan, slo_s),
        "out_of_memory": {"answers_507": run.problems["507"]},
        "generator": {
            "late_p99_ms": _spread(run.late_s)["p99"],
            "connections": run.connections,
            "most_in_flight": max((sample.in_flight for sample in run.samples), default=0),
        },
        "series": _series(run, plan),
    }


def _spread(seconds: NDArray[np.float64]) -> dict[str, float]:
    known = seconds[~np.isnan(seconds)] * 1000
    if not len(known):
        return {"count": 0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    figures = {f"p{q}": round(float(np.percentile(known, q)), 2) for q in (50, 95, 99)}
    return {"count": len(known), **figures, "max": round(float(known.max()), 2)}


def _loads(run: Run, costs: Costs) -> dict[str, float]:
    """Load-seconds: the engine's, summed over steps. Staging: fetch, unpack, digest and place."""
    page, requests = run.counted, max(len(run.is_right), 1)
    heads = page.total("roundhouse_step_loads_total", backend="ensemble")
    bases = page.total("roundhouse_step_loads_total", backend="onnxruntime") - heads
    engine_s = page.total("roundhouse_step_load_seconds_total")
    staging_s = sum(page.total("roundhouse_cold_start_seconds_sum", phase=phase) for phase in _STAGING)
    if not page.has("roundhouse_step_load_seconds_total"):  # a server from before it counted phases
        engine_s = page.total("ModelLoadingTime_sum") / 1e6
        staging_s = page.total("ModelDownloadingTime_sum") / 1e6
        heads = page.total("ModelLoadingTime_count")
    return {
        "archives_loaded": heads,
        "bases_loaded": bases,
        "evictions": page.total("ModelEvictions_total"),
        "load_seconds": round(engine_s, 2),
        "staging_seconds": round(staging_s, 2),
        "cold_seconds": round(engine_s + staging_s, 2),
        "load_seconds_per_100_requests": round(100 * engine_s / requests, 4),
        "waited_seconds": round(page.total("ModelLoadingWaitTime_sum") / 1e6, 1),
        "unhurried_load_seconds_per_100_requests": round(
            100 * modelled_load_seconds(bases, heads, costs) / requests, 4
        ),
    }


def _moved(run: Run) -> dict[str, float]:
    phases = {
        phase: round(moved / _MB, 1) for phase, moved in run.counted.by("roundhouse_moved_bytes_total", "phase").items()
    }
    return {**phases, "all": round(sum(phases.values()), 1)}


def _memory(samples: list[Sample], baseline: int, budget: int) -> dict[str, Any]:
    """How far the ledger and the process are apart, in percent of the process; and growth over the second half, in MB.

    The ledger accounts for the process where that lies between `low` and `high` above what it took with nothing
    resident.
    """
    if not samples:
        return {}
    process = np.array([sample.process for sample in samples], np.float64)
    low = np.array([sample.low for sample in samples], np.float64) + baseline
    high = np.array([sample.high for sample in samples], np.float64) + baseline
    charged = np.array([sample.charged for sample in samples], np.float64)
    at = np.array([sample.at_s for sample in samples])
    off = 100 * np.maximum(0, np.maximum(low - process, process - high)) / process
    half = at >= at[-1] / 2
    return {
        "samples": len(samples),
        "baseline_mb": round(baseline / _MB, 1),
        "budget_mb": round(budget / _MB, 1),
        "charged_mb": {"median": _mb(np.median(charged)), "max": _mb(charged.max())},
        "process_mb": {"median": _mb(np.median(process)), "max": _mb(process.max())},
        "ledger_off_percent": {
            "median": round(float(np.median(off)), 2),
            "p99": round(float(np.percentile(off, 99)), 2),
            "max": round(float(off.max()), 2),
        },
        "is_over_budget_samples": int(np.sum(charged > budget)),
        "growth_second_half_mb": {
            "process": _mb(growth(at[half], process[half])),
            "process_less_charged": _mb(growth(at[half], (process - charged)[half])),
        },
        **_own_account(samples),
    }


def _own_account(samples: list[Sample]) -> dict[str, Any]:
    """The server's own comparison of what is charged with what is there, where it makes one."""
    pairs = [(each.drift, each.held) for each in samples if each.drift is not None and each.held]
    if not pairs:
        return {}
    drift, held = np.array(pairs, np.float64).T
    off = 100 * np.abs(drift) / held
    return {
        "server_says": {
            "off_percent_median": round(float(np.median(off)), 2),
            "off_percent_max": round(float(off.max()), 2),
            "drift_mb_median": _mb(np.median(drift)),
        }
    }


def _mb(amount: float | np.floating[Any]) -> float:
    return round(float(amount) / _MB, 2)


def _density(run: Run, plan: Schedule) -> dict[str, float]:
    residents = [sample.residents for sample in run.samples] or [0]
    return {
        "archives_asked_for": len(set(plan.members.tolist())),
        "residents_median": float(np.median(residents)),
        "residents_max": max(residents),
    }


def _goodput(run: Run, plan: Schedule, slo_s: float) -> dict[str, float]:
    in_time = run.is_right & (run.latency_s <= slo_s)
    return {
        "slo_s": slo_s,
        "within_slo_percent": round(100 * float(in_time.mean()), 2),
        "requests_per_s": round(float(in_time.sum() / plan.seconds), 2),
    }


def _series(run: Run, plan: Schedule, most: int = 400) -> dict[str, list[float]]:
    """For the charts: memory and load over time, thinned out."""
    samples = run.samples[:: max(1, -(-len(run.samples) // most))]
    edges = np.linspace(0, max(plan.seconds, float(np.nanmax(run.done_s, initial=0.0))), 101)
    return {
        "at_s": [round(sample.at_s, 1) for sample in samples],
        "process_mb": [_mb(sample.process) for sample in samples],
        "ledger_mb": [_mb(sample.charged + run.baseline_bytes) for sample in samples],
        "in_flight": [sample.in_flight for sample in samples],
        "window_s": [round(float(edge), 1) for edge in edges[:-1]],
        "due_per_s": [round(float(n / (edges[1] - edges[0])), 2) for n in np.histogram(plan.due, edges)[0]],
        "latency_ms_at_percent": [round(float(v), 2) for v in np.nanpercentile(run.latency_s * 1000, _PERCENTS)],
    }


_PERCENTS: Final = (*range(1, 100), 99.5, 99.9)


def percents() -> tuple[float, ...]:
    """At which percentiles `series.latency_ms_at_percent` has its values."""
    return _PERCENTS


def gains(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """What sharing, tiers and the policy change on the same trace, in percent of the variant without it."""
    changes: dict[str, dict[str, float]] = {}
    for name, better, worse in (("sharing", "main", "apart"), ("tiers", "main", "no-tiers"), ("gdsf", "gdsf", "main")):
        if better in variants and worse in variants:
            changes[name] = _change(variants[better], variants[worse])
    return changes


def _change(better: Mapping[str, Any], worse: Mapping[str, Any]) -> dict[str, float]:
    measures = {
        "load_seconds": ("loads", "load_seconds"),
        "staging_seconds": ("loads", "staging_seconds"),
        "cold_seconds": ("loads", "cold_seconds"),
        "waited_seconds": ("loads", "waited_seconds"),
        "mb_fetched": ("moved_mb", "fetch"),
        "mb_loaded": ("moved_mb", "load"),
        "mb_moved": ("moved_mb", "all"),
    }
    found = {}
    for name, (part, field) in measures.items():
        before = float(worse[part].get(field, 0.0))
        if before:
            found[f"{name}_percent"] = round(100 * (float(better[part].get(field, 0.0)) / before - 1), 1)
    return found
