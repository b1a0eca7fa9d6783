"""Puts the sources of settings together, strongest first, and says clearly which value is wrong."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from server.settings.model import Settings
from server.settings.sagemaker import SINGLE_MODEL_FOLDER, from_sagemaker


class SettingsError(Exception):
    """A setting has a wrong value, or the file is not readable. The text names the setting and the value."""


def load_settings(
    flags: Mapping[str, object], config: Path | None, variables: Mapping[str, str]
) -> tuple[Settings, list[str]]:
    """Read the settings once; returns them with remarks worth logging.

    Raises:
        SettingsError: what is wrong, where, and what is accepted.
    """
    sagemaker, remarks = from_sagemaker(variables)
    environment = {
        name: variables[f"ROUNDHOUSE_{name.upper()}"]
        for name in Settings.model_fields
        if f"ROUNDHOUSE_{name.upper()}" in variables
    }
    merged: dict[str, Any] = {**sagemaker, **_file(config), **environment, **flags}
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    return _with_place(settings), remarks


def _file(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        return tomllib.loads(config.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {config}: {error}") from error


def _explain(error: ValidationError) -> str:
    lines = [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']} (got {problem['input']!r})"
        if problem["loc"]
        else problem["msg"].removeprefix("Value error, ")  # about several settings, which its text names
        for problem in error.errors()
    ]
    return (
        "settings are not usable:\n  "
        + "\n  ".join(lines)
        + "\n`roundhouse serve --help` and docs/settings.md list them"
    )


def _with_place(settings: Settings) -> Settings:
    """Decide the mode and the single model's folder where they were left to us."""
    mode = settings.mode
    if mode == "auto":
        has_single = settings.model is not None or (settings.store is None and SINGLE_MODEL_FOLDER.is_dir())
        mode = "single" if has_single else "multi"
    model = settings.model
    if mode == "single" and model is None and settings.store is None:
        model = SINGLE_MODEL_FOLDER
    return settings.model_copy(update={"mode": mode, "model": model})
