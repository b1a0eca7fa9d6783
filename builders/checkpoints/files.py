"""What checkpoint folders of several kinds have in common: JSON files and a model card."""

import json
from pathlib import Path
from typing import Any

import click


class UnusableCheckpoint(click.ClickException):
    """A checkpoint that cannot be compiled; the text says why."""


def read_json(path: Path, layout: str) -> Any:
    """Read a file that a checkpoint of this layout ("diffusers'") must have. Raises UnusableCheckpoint."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnusableCheckpoint(f"{path} is missing; the folder needs {layout} layout") from error
    except ValueError as error:
        raise UnusableCheckpoint(f"{path} is not JSON: {error}") from error


def licence(folder: Path) -> str:
    """The `license:` line of the model card, "unknown" without one."""
    card = folder / "README.md"
    if not card.is_file():
        return "unknown"
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()[:60]
    return next((line.removeprefix("license:").strip() for line in lines if line.startswith("license:")), "unknown")
