"""Two results of one scenario, figure by figure: what has changed by more than the rounds vary. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.suite.figures import Figure, figures

ALIKE: Final = ("cpu", "cores", "memory_gib", "system", "closed_loops_by")
"""What two machines, and the load on them, must have in common before their figures are laid side by side."""


class Incomparable(ValueError):
    """Two results that say nothing about each other. The message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both results. `verdict`: better, worse, differs (no telling which way is good), or "" within."""

    name: str
    before: Figure
    after: Figure
    verdict: str

    @property
    def ratio(self) -> float | None:
        """After over before; None where before is 0."""
        return self.after.value / self.before.value if self.before.value else None


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every figure that both have with its spread, in the order of `before`.

    A change counts where the spreads do not touch: each value of the one lies outside all of the other.

    Raises:
        Incomparable: different scenarios, machines, forms (quick, full) or settings, or no figure in common.
    """
    _check(before, after)
    old, new = figures(before), figures(after)
    common = [name for name in old if name in new and old[name].has_spread and new[name].has_spread]
    if not common:
        raise Incomparable("the two results have no figure with a spread in common")
    return [Change(name, old[name], new[name], _verdict(name, old[name], new[name])) for name in common]


def _check(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    if before["scenario"] != after["scenario"]:
        raise Incomparable(f"these are different scenarios: {before['scenario']} and {after['scenario']}")
    for field in ("is_quick", "settings"):
        if before.get(field, False) != after.get(field, False):
            said = {"is_quick": "one is a quick run, the other a full one"}.get(field, "they ran with other settings")
            raise Incomparable(f"{said}: measure both in the same form")
    one, other = before.get("environment", {}), after.get("environment", {})
    if differing := [f"{key} {one.get(key)} and {other.get(key)}" for key in ALIKE if one.get(key) != other.get(key)]:
        raise Incomparable(f"these are different machines ({'; '.join(differing)}): compare ratios within one run")


def _verdict(name: str, old: Figure, new: Figure) -> str:
    if new.low <= old.high and old.low <= new.high:
        return ""
    better = wants_more(name)
    if better is None:
        return "differs"
    return "better" if (new.value > old.value) == better else "worse"


def wants_more(name: str) -> bool | None:
    """Whether more of a figure is better, by the end of its name; None where that does not tell."""
    leaf = name.rsplit(" / ", 1)[-1]
    if leaf.endswith("_per_s") or "throughput" in leaf:
        return True
    if leaf.endswith(("_ms", "_s", "_mb")) or leaf.startswith(("p50", "p99", "first_answer", "vs_bare", "cost")):
        return False
    return None
