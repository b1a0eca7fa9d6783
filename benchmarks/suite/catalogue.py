"""The scenarios by name, in the order in which they run; imported only when they are."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from benchmarks.suite.pace import Pace

SCENARIOS: Final = (
    "overhead",
    "front_end_workers",
    "single_model",
    "open_loop",
    "peers",
    "loadgen",
    "precision",
    "mixed_payloads",
    "images",
    "zero_shot",
    "sam_prompts",
    "diffusion",
    "cold_start",
    "many_models",
)
_FILES: Final = Path(__file__).parents[1] / "scenarios"


def scenario(name: str) -> ModuleType:
    """The scenario's module: its docstring opens with its question, and `run(pace)` answers."""
    return import_module(f"benchmarks.scenarios.{name}")


def question(name: str) -> str:
    """What a scenario asks: how its file opens, up to the question mark. Imports nothing."""
    with (_FILES / f"{name}.py").open() as file:
        line = file.readline().strip().removeprefix('"""')
    return line[: line.find("?") + 1] or line


def run(name: str, pace: Pace) -> dict[str, Any]:
    """Measure; the document is ready for JSON, without its environment. What a scenario raises comes through."""
    found: dict[str, Any] = scenario(name).run(pace)
    return {"scenario": name, "question": question(name), **found}
