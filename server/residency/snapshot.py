"""The state of residency for people, as JSON-ready values. Reads the planner's house, changes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any, Final, TypeAlias

from server.domain.clock import Clock
from server.domain.cold_start import ColdStart
from server.domain.model import Device
from server.residency.decision_report import decision_of
from server.residency.planning.house import House
from server.residency.planning.records import ArchiveRecord, StepRecord
from server.residency.planning.states import ArchiveState, StepState
from server.residency.staging import Stale

Json: TypeAlias = dict[str, Any]
EVICTIONS_SHOWN: Final = 100
"""`/admin/residency/decisions` has the others."""


def snapshot(house: House, stale: Mapping[str, Stale], clock: Clock, passing: Mapping[Device, int]) -> Json:
    """Everything worth knowing. Times are seconds since the epoch, or ages in seconds where the name says `_s`.

    What is in memory is measured at quiet moments: `observed_bytes`, to be compared with `expected_bytes`, the charges
    of the steps that were there (`memory_watch.py` adds both). In between it lies, but for the same `drift_bytes`,
    between `charged_bytes` - `in_transit_bytes` (what is charged for steps on their way in or out) and `charged_bytes`
    + `loading_bytes` (`passing`: what loads hold for a moment above their charge).
    """
    now, to_wall = clock.now(), clock.wall() - clock.now()
    waiters = house.waiting.counts()
    records = sorted(house.inventory.archives.values(), key=lambda record: record.archive.key)
    failed = house.failures.remembered(now)
    return {
        "policy": house.policy.name,
        "churn_guard_s": house.options.churn_guard_s,
        "devices": _devices(house, passing),
        "residents": [
            {**_archive(house, record, now), **_worth(house, record, now)}
            for record in records
            if record.state is ArchiveState.RESIDENT
        ],
        "loading": [_archive(house, record, now) for record in records if record.state is ArchiveState.LOADING],
        "leaving": [_archive(house, record, now) for record in records if record.is_leaving],
        "steps": [_step(house, step) for _, step in sorted(house.inventory.steps.items())],
        "mapped_files": _mapped_files(house),
        "eviction_order": _eviction_order(house),
        "pinned": sorted(house.pins),
        "waiting": [
            {"archive": archive.name, "version": archive.version, "waiters": waiters[archive.key]}
            for archive in house.waiting.wanted()
        ],
        "failures": [
            {
                "archive": failure.name,
                "version": failure.version,
                "error": type(failure.error).__name__,
                "reason": str(failure.error),
                "retry_in_s": round(failure.until - now, 3),
                "serving_instead": _serving_instead(house, failure.name, failure.version),
            }
            for failure in failed
        ],
        "stale": [
            {"archive": name, "error": type(each.error).__name__, "reason": str(each.error)}
            for name, each in sorted(stale.items())
        ],
        "evictions": [decision_of(each, to_wall) for each in islice(reversed(list(house.decisions)), EVICTIONS_SHOWN)],
    }


def _devices(house: House, passing: Mapping[Device, int]) -> Json:
    ledger = house.inventory.ledger
    moving = [step for step in house.inventory.steps.values() if step.state is not StepState.RESIDENT]
    in_transit = _bytes(house, moving)
    return {
        device: {
            "charged_bytes": charged,
            "budget_bytes": ledger.budgets.get(device),
            "free_bytes": ledger.budgets[device] - charged if device in ledger.budgets else None,
            "in_transit_bytes": in_transit.get(device, 0),
            "loading_bytes": passing.get(device, 0),
            "is_over_budget": charged > ledger.budgets.get(device, charged),
        }
        for device, charged in sorted(ledger.charged().items())
    }


def _archive(house: House, record: ArchiveRecord, now: float) -> Json:
    return {
        "archive": record.archive.name,
        "version": record.archive.version,
        "state": str(record.state),
        "leases": record.leases,
        "is_pinned": house.is_pinned(record),
        "group": record.terms.group,
        "priority": record.terms.priority,
        "time_to_live_s": record.terms.time_to_live_s,
        "uses": record.uses,
        "idle_s": round(now - record.last_used, 3),
        "load_s": round(record.load_s, 4),
        "staging_s": round(record.archive.staging_s, 4),
        "cold_start": _cold_start(record.cold_start),
        "bytes": _bytes(house, record.steps),
        "own_bytes": _own_bytes(house, record),
        "steps": [{"name": step.name, "digest": step.digest} for step in record.archive.steps],
        "leaving_because": record.departure or None,
    }


def _cold_start(start: ColdStart | None) -> Json | None:
    """What becoming resident took, phase by phase; None where it is not there yet."""
    if start is None:
        return None
    phases = asdict(start.staging)
    return {
        **{name: round(value, 4) if name.endswith("_s") else value for name, value in phases.items()},
        "load_s": round(start.load_s, 4),
        "warm_up_s": round(start.warm_up_s, 4),
        "steps": [
            {"name": step.name, "load_s": round(step.times.load_s, 4), "bytes": step.file_bytes} for step in start.steps
        ],
    }


def _worth(house: House, record: ArchiveRecord, now: float) -> Json:
    """What the policy gives for the archive, and why; where it came from, when, and whether that protects it."""
    return {
        "came_from": record.warmth,
        "value": house.policy.value(record),
        "judgement": house.policy.explain(record, now),
        "is_guarded": record.resident_since > now - house.options.churn_guard_s,
    }


def _step(house: House, step: StepRecord) -> Json:
    return {
        "digest": step.step.digest,
        "backend": step.step.backend,
        "state": str(step.state),
        "charged_bytes": dict(house.inventory.ledger.charge_of(step.step.digest).bytes_by_device),
        "mapped_bytes": dict(house.inventory.ledger.charge_of(step.step.digest).mapped),
        "shared_by": sorted(house.inventory.archives[key].archive.name for key in step.references),
    }


def _bytes(house: House, steps: Iterable[StepRecord]) -> Json:
    total: dict[str, int] = {}
    for step in steps:
        for device, amount in house.inventory.ledger.charge_of(step.step.digest).bytes_by_device.items():
            total[device] = total.get(device, 0) + amount
    return total


def _own_bytes(house: House, record: ArchiveRecord) -> Json:
    """What would come back if only this archive went."""
    return dict(house.inventory.outlook().go(step for step in record.steps if len(step.references) == 1))


def _mapped_files(house: House) -> list[Json]:
    """Weight files in memory: how far each is charged, and the steps that map it."""
    mapped = house.inventory.ledger.mapped
    return [
        {"file": file, "bytes": max(mapped.sharers(file).values()), "steps": sorted(mapped.sharers(file))}
        for file in sorted(mapped.files())
    ]


def _eviction_order(house: House) -> list[str]:
    candidates = house.inventory.in_state(ArchiveState.RESIDENT)
    return [record.archive.name for record in house.in_order(candidates) if not house.is_pinned(record)]


def _serving_instead(house: House, name: str, version: str) -> str | None:
    old = house.inventory.leasable.get(name)
    return old.archive.version if old is not None and old.archive.version != version else None
