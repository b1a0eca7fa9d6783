"""Who calls whom inside an archive, and therefore: which model is the entry, and what it needs. Pure.

An ensemble says what it calls in its schedule. A Python step says it in the config parameter `CALLS` (names separated
by commas, "" for nobody). A Python step that says nothing but makes `InferenceRequest`s may call any model of its
archive that does not lead back to it: too many rather than too few, since what it calls has to be loaded before it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from server.archive.manifest import MANIFEST_FILE
from server.archive.model_config import ModelConfig, is_ensemble, parameter
from server.domain.errors import InvalidArchive

CALLS_PARAMETER: Final = "CALLS"
_MAKES_CALLS: Final = "InferenceRequest("
_QUOTED: Final = re.compile(r"""["']([^"'\n]+)["']""")


@dataclass(frozen=True, slots=True)
class CallGraph:
    """`declared` holds what a file says; `possible` adds what a Python step may call without saying so."""

    declared: Mapping[str, tuple[str, ...]]
    possible: Mapping[str, tuple[str, ...]]


def call_graph(configs: Mapping[str, ModelConfig], sources: Mapping[str, str]) -> CallGraph:
    """Build the graph from {name: config} and {name: text of a Python step's files}.

    Raises:
        InvalidArchive: a called model is not in the archive, or calls go round in a circle.
    """
    declared = {name: _declared(config) for name, config in configs.items()}
    guessed = {name for name, calls in declared.items() if calls is None and _MAKES_CALLS in sources.get(name, "")}
    certain = {name: calls or () for name, calls in declared.items()}
    _refuse_missing(certain)
    _refuse_circle(certain)
    for name in sorted(guessed):
        certain[name] = _not_leading_back(name, _quoted(sources[name]).intersection(configs), certain)
    possible = dict(certain)
    for name in sorted(guessed):
        others = set(configs).difference(guessed).union(certain[name])
        possible[name] = _not_leading_back(name, others, possible)
    return CallGraph(certain, possible)


def _declared(config: ModelConfig) -> tuple[str, ...] | None:
    if is_ensemble(config):
        return tuple(sorted({step.model_name for step in config.ensemble_scheduling.step}))
    calls = parameter(config, CALLS_PARAMETER)
    if calls is None:
        return None
    return tuple(sorted({name.strip() for name in calls.split(",") if name.strip()}))


def _quoted(source: str) -> set[str]:
    """What stands in quotes in a Python source: a model that is named there is surely called."""
    return set(_QUOTED.findall(source))


def _not_leading_back(name: str, others: set[str], calls: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(other for other in others if name not in reachable(other, calls)))


def _refuse_missing(calls: Mapping[str, tuple[str, ...]]) -> None:
    for name, callees in calls.items():
        if missing := [callee for callee in callees if callee not in calls]:
            raise InvalidArchive(
                f"model {name!r} calls {_names(missing)}, which the archive does not hold; "
                f"it holds {_names(sorted(calls))}"
            )


def _refuse_circle(calls: Mapping[str, tuple[str, ...]]) -> None:
    for name in calls:
        path = _path(name, name, calls)
        if path:
            raise InvalidArchive(f"models call each other in a circle: {' -> '.join(path)}")


def _path(start: str, goal: str, calls: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A way of at least one call from start to goal, [] where there is none."""
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting:
        current = waiting.pop()
        for callee in calls[current]:
            if callee == goal:
                way = [goal, current]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if callee not in came_from:
                came_from[callee] = current
                waiting.append(callee)
    return []


def reachable(start: str, calls: Mapping[str, tuple[str, ...]]) -> set[str]:
    """`start` and everything that it calls, directly or not."""
    seen = {start}
    waiting = [start]
    while waiting:
        new = set(calls[waiting.pop()]) - seen
        seen |= new
        waiting.extend(new)
    return seen


def callees_first(entry: str, calls: Mapping[str, tuple[str, ...]]) -> list[str]:
    """`entry` and what it needs, each model after those it calls (so the entry is last). The graph has no circle."""
    ordered: dict[str, None] = {}
    path: list[tuple[str, bool]] = [(entry, False)]
    while path:
        name, is_expanded = path.pop()
        if name in ordered:
            continue
        if is_expanded:
            ordered[name] = None
            continue
        path.append((name, True))
        path.extend((callee, False) for callee in sorted(calls[name], reverse=True))
    return list(ordered)


def entry_model(configs: Mapping[str, ModelConfig], graph: CallGraph, named: str) -> str:
    """The model that requests are sent to.

    In this order: the one that is `named` (by manifest or settings); the only ensemble that nobody calls; the only
    model; the only model that nobody calls (a Python step with its helpers).

    Raises:
        InvalidArchive: the named model is not there, or several models could be meant.
    """
    if named:
        if named not in configs:
            raise InvalidArchive(
                f"the entry model {named!r}, which {MANIFEST_FILE} or the server's settings name, is not in the "
                f"archive; it holds {_names(sorted(configs))}"
            )
        return named
    if len(configs) == 1:
        return next(iter(configs))
    declared_roots = _roots(graph.declared)
    ensembles = [name for name in declared_roots if is_ensemble(configs[name])]
    candidates = ensembles or _roots(graph.possible)
    if len(candidates) != 1:
        raise InvalidArchive(
            f"the archive holds {len(candidates)} models that nobody calls ({_names(candidates)}), so it is not clear "
            f'which one requests are meant for; name it in {MANIFEST_FILE}: {{"entry_model": "{candidates[0]}"}}'
        )
    return candidates[0]


def _roots(calls: Mapping[str, tuple[str, ...]]) -> list[str]:
    called = {callee for callees in calls.values() for callee in callees}
    return sorted(name for name in calls if name not in called)


def _names(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
