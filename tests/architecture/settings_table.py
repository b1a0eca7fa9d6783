"""Writes docs/settings.md from the settings themselves: `python -m tests.architecture.settings_table`."""

from pathlib import Path

from server.settings import Settings

TARGET = Path(__file__).resolve().parents[2] / "docs" / "settings.md"

HEAD = """# Settings

Each one is a flag of `roundhouse serve` (`--memory-budget 4GiB`), a variable (`ROUNDHOUSE_MEMORY_BUDGET=4GiB`) and a key of
the TOML file given with `--config` (`memory_budget = "4GiB"`). Flags beat variables, variables beat the file, the file beats
SageMaker's own variables (`SAGEMAKER_MULTI_MODEL`, `SAGEMAKER_BIND_TO_PORT`, `SAGEMAKER_TRITON_*`, ...).

This page is generated from `server/settings/model.py`; `make golden` rewrites it.

| variable | default | meaning |
|---|---|---|
"""


def table() -> str:
    """The page's text."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        meaning = " ".join((field.description or "").replace("|", "/").split())
        rows.append(f"| `ROUNDHOUSE_{name.upper()}` | {default} | {meaning} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(table())
