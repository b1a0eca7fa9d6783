"""What came out of a tuning: tables for the terminal, a picture, a JSON document. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table

from benchmarks.simulation.plot import Panel, svg
from benchmarks.suite.figures import short
from benchmarks.suite.report.bars import nice
from benchmarks.tuning.judging import Curve, Goal, best
from benchmarks.tuning.search import Confirmed, Verdict
from benchmarks.tuning.space import BASELINE, Choice

_SHOWN: Final = 12
_TICKS: Final = 5


def tried_table(verdict: Verdict) -> Table:
    """What was tried, best first."""
    table = Table("settings", "worth", "most requests/s", "p50 ms", title="tried, each beside the archive as it is")
    ranked = sorted(verdict.tried.items(), key=lambda each: each[1].worth, reverse=True)
    for choice, found in ranked[:_SHOWN]:
        first = found.curve[0]
        row = (short(found.worth), short(best(found.curve)), f"{short(first.p50_ms)} (c={first.concurrency})")
        table.add_row(str(choice), *row, style="dim" if choice == BASELINE else "")
    return table


def curves_table(found: Confirmed, goal: Goal) -> Table:
    """The curve of the setting that is taken beside the baseline's, measured anew in the same minutes."""
    rounds = len(found.rounds)
    table = Table(title=f"{found.choice}: medians of {rounds} fresh rounds beside the archive as it is")
    for name in ("connections", "requests/s", "p50 ms", "p99 ms", "as it is: requests/s", "p50 ms", "p99 ms", "ratio"):
        table.add_column(name, justify="right")
    kept = goal.kept(found.curve)
    for ours, theirs in zip(found.curve, found.baseline, strict=True):
        figures = (ours.requests_per_s, ours.p50_ms, ours.p99_ms, theirs.requests_per_s, theirs.p50_ms, theirs.p99_ms)
        ratio = ours.requests_per_s / theirs.requests_per_s
        style = "" if ours in kept else "dim"
        table.add_row(str(ours.concurrency), *(short(each) for each in figures), f"{ratio:.2f} x", style=style)
    return table


def picture(title: str, curves: Mapping[str, Curve], goal: Goal) -> str:
    """Latency over throughput as SVG, a panel for each percentile, with the goal as a dashed line."""
    most = max(best(curve) for curve in curves.values())
    step = nice(most / _TICKS)
    ticks = [step * index for index in range(int(most / step) + 2)]
    panels = []
    for name in ("p50_ms", "p99_ms"):
        lines: dict[str, Sequence[tuple[float, float]]] = {
            label: [(point.requests_per_s, getattr(point, name)) for point in curve] for label, curve in curves.items()
        }
        if goal.most_ms is not None and goal.percentile == name:
            lines["goal"] = [(ticks[0], goal.most_ms), (ticks[-1], goal.most_ms)]
        panels.append(Panel(f"{name.removesuffix('_ms')} (ms)", lines))
    return svg(title, ("requests/s", "ms"), panels, dashed="goal", log_y=True, log_x=False, x_ticks=ticks)


def curves_of(verdict: Verdict) -> dict[str, Curve]:
    """The curves worth drawing: as it is, tuned, and each further archive at its best."""
    curves = {"as it is": verdict.last.baseline}
    if verdict.chosen is not None and verdict.chosen.choice != BASELINE:
        curves["tuned"] = verdict.chosen.curve
    for name in sorted({choice.archive for choice in verdict.tried} - {""}):
        of_it = {choice: found for choice, found in verdict.tried.items() if choice.archive == name}
        best_of_it = max(of_it.values(), key=lambda each: each.worth)
        if verdict.chosen is None or verdict.chosen.choice.archive != name:
            curves[name.split(".", 1)[0]] = best_of_it.curve
    return curves


def document(verdict: Verdict, goal: Goal, failures: Mapping[Choice, str]) -> dict[str, Any]:
    """Every figure, ready for JSON; what was measured where is the caller's to add."""
    return {
        "goal": {"percentile": goal.percentile, "most_ms": goal.most_ms, "words": str(goal)},
        "chosen": _confirmed(verdict.chosen, goal) if verdict.chosen else None,
        "baseline": [asdict(point) for point in verdict.last.baseline],
        "tried": [
            {**_choice(choice), "worth": round(found.worth, 4), "curve": [asdict(point) for point in found.curve]}
            for choice, found in verdict.tried.items()
        ],
        "broken": [{**_choice(choice), "why": failures.get(choice, "")} for choice in verdict.broken],
    }


def _confirmed(found: Confirmed, goal: Goal) -> dict[str, Any]:
    kept = goal.kept(found.curve)
    return {
        **_choice(found.choice),
        "worth": round(found.worth, 4),
        "rounds": len(found.rounds),
        "keeps_the_goal_up_to": max(point.concurrency for point in kept),
        "throughput_ratios": [
            round(ours.requests_per_s / theirs.requests_per_s, 3)
            for ours, theirs in zip(found.curve, found.baseline, strict=True)
        ],
        "curve": [asdict(point) for point in found.curve],
        "rounds_in_full": [
            {"curve": [asdict(point) for point in each.curve], "baseline": [asdict(point) for point in each.baseline]}
            for each in found.rounds
        ],
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {"archive": choice.archive, "settings": choice.of_steps(), "serve": choice.of_server()}
