"""A copy of the planner with one line changed, for asking the property test whether it would notice."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

PARTS = (
    "states",
    "mapped",
    "ledger",
    "terms",
    "records",
    "outlook",
    "policies",
    "policies.policy",
    "policies.lru",
    "policies.gdsf",
    "policies.s3_fifo",
    "policies.table",
    "sizes",
    "inventory",
    "victims",
    "crowds",
    "lines",
    "whole",
    "small",
    "waiting",
    "failures",
    "last_names",
    "house",
    "lent",
    "candidates",
    "quotas",
    "pool",
    "refusal",
    "claims",
    "outcomes",
    "renewal",
    "disk_room",
    "foreseen",
    "wishes",
    "planner",
)
"""The planner and what it decides with, in the order of their imports."""


def plant(part: str, old: str, new: str) -> ModuleType:
    """The planner, with `old` replaced by `new` in the source of `part`. The real one stays as it is."""
    return plant_in([f"server.residency.planning.{each}" for each in PARTS], part, old, new)[-1]


def plant_in(names: Sequence[str], part: str, old: str, new: str) -> list[ModuleType]:
    """Copies of these modules, in the order of their imports, with a change in the one whose name ends with `part`."""
    real = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    try:
        for name in names:
            _execute(name, (old, new) if name.endswith(f".{part}") else None)
        return [sys.modules[name] for name in names]
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(real)
        for name, module in real.items():
            _hang_up(name, module)


def _execute(name: str, change: tuple[str, str] | None) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    if change is not None:
        assert source.count(change[0]) == 1, f"{name} has {source.count(change[0])} places like {change[0]!r}"
        source = source.replace(*change)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _hang_up(name, module)
    exec(compile(source, f"planted {name}", "exec"), module.__dict__)


def _hang_up(name: str, module: ModuleType) -> None:
    """Where `from package import module` finds it."""
    package, _, own = name.rpartition(".")
    setattr(sys.modules[package], own, module)
