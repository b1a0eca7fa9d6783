"""Departures for people, as JSON-ready values. Reads, changes nothing."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, TypeAlias

from server.residency.planning.decisions import Considered, Decision

Json: TypeAlias = dict[str, Any]


def explained(decisions: Iterable[Decision], to_wall: float, name: str | None = None, limit: int | None = None) -> Json:
    """The newest `limit` departures of one archive (`None`: of all) first, and what all of these cost together.

    `to_wall` turns monotonic seconds into seconds since the epoch.
    """
    found = [each for each in reversed(list(decisions)) if name is None or each.name == name]
    return {"summary": _summary(found), "decisions": [decision_of(each, to_wall) for each in islice(found, limit)]}


def decision_of(decision: Decision, to_wall: float) -> Json:
    """One departure. Times are seconds since the epoch, or spans in seconds where the name says `_s`."""
    back = decision.came_back
    return {
        "at": round(decision.at + to_wall, 3),
        "archive": decision.name,
        "version": decision.version,
        "reason": decision.reason,
        "for": decision.for_whom or None,
        "missing_bytes": dict(decision.needed),
        "bytes": decision.size_bytes,
        "uses": decision.uses,
        "judgement": decision.judgement,
        "idle_s": round(decision.at - decision.last_used, 3),
        "load_s": round(decision.load_s, 4),
        "regret": None
        if back is None
        else {
            "at": round(back.at + to_wall, 3),
            "after_s": round(back.at - decision.at, 3),
            "load_s": round(back.load_s, 4),
            "unused_instead": list(back.unused),
        },
        "considered": [_considered(each, decision.at) for each in decision.considered],
    }


def _considered(each: Considered, at: float) -> Json:
    return {
        "archive": each.name,
        "version": each.version,
        "value": each.value,
        "idle_s": round(at - each.last_used, 3),
        "bytes": each.size_bytes,
        "leases": each.leases,
        "is_pinned": each.is_pinned,
        "is_guarded": each.is_guarded,
        "was_chosen": each.is_victim,
    }


def _summary(decisions: Sequence[Decision]) -> Json:
    returns = [each.came_back for each in decisions if each.came_back is not None]
    return {
        "departures": len(decisions),
        "load_s_thrown_away": round(sum(each.load_s for each in decisions), 4),
        "came_back": len(returns),
        "load_s_of_returns": round(sum(each.load_s for each in returns), 4),
        "with_a_better_choice": sum(bool(each.unused) for each in returns),
    }
