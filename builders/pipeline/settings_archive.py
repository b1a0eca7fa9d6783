"""A finished archive in, the same archive with other settings out; and what can be set in it."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from builders.pipeline.folder import finish, linked_copy, work_folder
from builders.triton_config.settings import NoSuchSetting, change, settings_of
from server.archive.layout import Layout, find_models, read_layout
from server.archive.manifest import MANIFEST_FILE, Manifest
from server.archive.model_config import ModelConfig, backend_of, canonical, datatype, parse, render
from server.archive.unpack import UnpackLimits, unpack
from server.domain.errors import RoundhouseError

_MOST_BYTES: Final = 1 << 40
_CONFIG: Final = "config.pbtxt"

Changes = Mapping[tuple[str, str], str]
"""(step, setting) -> value."""


def described(archive: Path) -> dict[str, Any]:
    """What a tuner has to know of `archive`: task, entry, what it takes, measured accuracy, every step's settings.

    Raises:
        click.ClickException: the archive cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="roundhouse-") as folder:
        layout = _read(archive, archive if archive.is_dir() else _unpacked(archive, Path(folder)))
        entry = next(model.config for model in layout.models if model.name == layout.entry)
        manifest = layout.manifest or Manifest()
        return {
            "entry": layout.entry,
            "task": manifest.task,
            "description": manifest.description,
            "parity": dict(manifest.parity),
            "max_batch_size": max(0, entry.max_batch_size),
            "is_decoupled": bool(entry.model_transaction_policy.decoupled),
            "inputs": [
                {
                    "name": tensor.name,
                    "datatype": datatype(tensor.data_type),
                    "dims": list(tensor.dims),
                    "is_optional": bool(tensor.optional),
                }
                for tensor in entry.input
                if tensor.data_type
            ],
            "steps": {
                model.name: {"backend": backend_of(canonical(model.config)), "settings": settings_of(model.config)}
                for model in layout.models
            },
        }


def with_settings(archive: Path, changes: Changes, to: Path) -> Path:
    """Write `archive` (a file or a folder, left as it is) to `to` with the changes in its configs; returns `to`.

    Steps that are not named stay byte for byte as they are, and are shared with the original. The manifest remembers
    what was set (`provenance.settings`).

    Raises:
        click.ClickException: the archive cannot be read, has no such step, or the step no such setting.
    """
    with work_folder(to.parent) as work:
        if archive.is_dir():
            linked_copy(archive, work / "archive")
        else:
            _unpacked(archive, work / "archive")
        layout = _read(archive, work / "archive")
        _apply(layout, changes)
        root = find_models(work / "archive").root
        manifest = layout.manifest
        if manifest is not None:
            (root / MANIFEST_FILE).unlink(missing_ok=True)  # it may be linked to the original
            known = dict(manifest.provenance.get("settings", {}))
            settings = known | {f"{step}.{name}": value for (step, name), value in changes.items()}
            provenance = {**manifest.provenance, "settings": settings} if settings else manifest.provenance
            manifest = replace(manifest, provenance=provenance)
        return finish(root, manifest, to)


def _read(archive: Path, root: Path) -> Layout:
    try:
        return read_layout(root, is_partial=True)
    except RoundhouseError as error:
        raise click.ClickException(f"{archive}: {error}") from error


def _unpacked(archive: Path, to: Path) -> Path:
    try:
        with archive.open("rb") as file:
            unpack(file, to, UnpackLimits(total_bytes=_MOST_BYTES))
    except (RoundhouseError, OSError) as error:
        raise click.ClickException(f"{archive}: {error}") from error
    return to


def _apply(layout: Layout, changes: Changes) -> None:
    folders = {model.name: model.path for model in layout.models}
    for step in dict.fromkeys(step for step, _ in changes):
        if step in layout.missing:
            raise click.ClickException(f"step {step!r} lies in {layout.missing[step].archive}; set it there")
        if step not in folders:
            raise click.ClickException(f"the archive has no step {step!r}; it has {', '.join(folders)}")
        file = folders[step] / _CONFIG
        config = parse(file.read_text("utf-8")) if file.is_file() else ModelConfig(name=step)
        try:
            for (owner, name), value in changes.items():
                if owner == step:
                    change(config, name, value)
        except NoSuchSetting as error:
            raise click.ClickException(str(error)) from error
        file.unlink(missing_ok=True)  # it may be linked to the original, and is read-only
        file.write_text(render(config), "utf-8")
