"""From a folder to the models in it: where they lie, which one is the entry, in which order they load.

Three shapes are understood: a repository of model folders, one model without a folder of its own (`config.pbtxt` or a
version folder at the root), and either of them inside one extra folder, as `tar czf x.tar.gz folder` makes it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from server.archive.calls import call_graph, callees_first, entry_model
from server.archive.manifest import Manifest, read_manifest
from server.archive.model_config import ModelConfig
from server.archive.model_folder import ModelFolder, is_ignored, is_model, read_model
from server.archive.needs import NO_FILE_NEEDS, NO_NEEDS, Borrowed, FileNeeds, Needs
from server.domain.errors import InvalidArchive

__all__ = ["Layout", "ModelFolder", "find_models", "read_layout", "read_needs"]

_MAX_SOURCE_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """An archive that was understood. `models` is what the entry needs, callees first, so the entry is last.

    `manifest` is `None` for a plain Triton repository; `unused` names models that the entry never calls. `missing`
    are the steps that lie in other archives, where the layout was read without them; `models` then lacks them.
    `missing_files` are files of the models that do.
    """

    manifest: Manifest | None
    entry: str
    models: tuple[ModelFolder, ...]
    unused: tuple[str, ...] = ()
    missing: Needs = field(default_factory=lambda: NO_NEEDS)
    missing_files: FileNeeds = field(default_factory=lambda: NO_FILE_NEEDS)


@dataclass(frozen=True, slots=True)
class Repository:
    """Where the models of an archive lie. A flat archive has one model, named "" until its config is read."""

    root: Path
    paths: Mapping[str, Path]


def find_models(root: Path) -> Repository:
    """Find the model folders.

    Raises:
        InvalidArchive: there is none, or no folder at `root`.
    """
    if not root.is_dir():
        raise InvalidArchive("the archive is not there, or is not a folder")
    for folder in _candidates(root):
        if is_model(folder):
            return Repository(folder, {"": folder})
        models = {path.name: path for path in _subfolders(folder) if is_model(path)}
        if models:
            return Repository(folder, models)
    raise InvalidArchive(
        "the archive holds no model: expected MODEL/config.pbtxt with MODEL/1/, or config.pbtxt at the top, "
        f"found {', '.join(path.name for path in _visible(root)[:8]) or 'nothing'}"
    )


def _candidates(root: Path) -> list[Path]:
    """The root, and the one extra folder that some ways of packing put around it."""
    inner = _subfolders(root)
    return [root, *inner] if len(inner) == 1 else [root]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not is_ignored(path.name))


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir() and not path.is_symlink()]


def read_needs(root: Path) -> tuple[Needs, FileNeeds]:
    """The steps and files that the archive at `root` leaves out.

    Raises:
        InvalidArchive: no model at all, a broken manifest, or it leaves out what it holds, or what it has no model for.
    """
    repository = find_models(root)
    manifest = _manifest(root, repository)
    if manifest is None:
        return NO_NEEDS, NO_FILE_NEEDS
    missing = _missing_files(manifest.file_needs, repository)
    for model, files in manifest.file_needs.items():
        if held := sorted(files.keys() - missing.get(model, {}).keys()):
            of = files[held[0]].archive
            raise InvalidArchive(f"the archive holds {model}/{held[0]}, which its manifest takes from {of!r}")
    return manifest.needs, missing


def read_layout(
    root: Path, entry: str = "", borrowed: Borrowed = MappingProxyType({}), *, is_partial: bool = False
) -> Layout:
    """Read the archive that was unpacked at (or is) `root`. `entry` names its entry model where no manifest does.

    `borrowed` says where the steps lie that its manifest needs. `is_partial`: steps may be missing.

    Raises:
        InvalidArchive: no model, a config that does not parse, a called model that is missing, calls in a circle,
            no single entry model, a broken manifest, a needed step that is not `borrowed`.
    """
    repository = find_models(root)
    manifest = _manifest(root, repository)
    needs = manifest.needs if manifest else NO_NEEDS
    missing = _missing(needs, repository, borrowed)
    if missing and not is_partial:
        model, need = next(iter(missing.items()))
        raise InvalidArchive(
            f"the archive holds only a part: its step {model!r} lies in {need.archive!r}, which is not at hand"
        )
    missing_files = _missing_files(manifest.file_needs if manifest else NO_FILE_NEEDS, repository)
    if missing_files and not is_partial:
        model, files = next(iter(missing_files.items()))
        path = next(iter(files))
        raise InvalidArchive(
            f"the archive holds only a part: {model}/{path} lies in {files[path].archive!r}, which is not at hand"
        )
    lacking = {model: {path: need.digest for path, need in files.items()} for model, files in missing_files.items()}
    found = [read_model(path, repository.root, name, lacking.get(name, {})) for name, path in repository.paths.items()]
    found += [read_model(borrowed[name], borrowed[name], name) for name in needs if name in borrowed]
    by_name = {model.name: model for model in found}
    configs = {model.name: model.config for model in found} | {name: ModelConfig(name=name) for name in missing}
    graph = call_graph(configs, {model.name: _python_source(model) for model in found})
    entry = entry_model(configs, graph, (manifest.entry_model if manifest else "") or entry)
    names = callees_first(entry, graph.possible)
    return Layout(
        manifest=manifest,
        entry=entry,
        models=tuple(replace(by_name[name], calls=graph.possible[name]) for name in names if name in by_name),
        unused=tuple(sorted(set(by_name).difference(names))),
        missing=missing,
        missing_files=missing_files,
    )


def _manifest(root: Path, repository: Repository) -> Manifest | None:
    return read_manifest(repository.root) or (read_manifest(root) if repository.root != root else None)


def _missing(needs: Needs, repository: Repository, borrowed: Borrowed) -> Needs:
    if needs and "" in repository.paths:
        raise InvalidArchive("an archive that needs steps of others must have a folder for each of its own models")
    if both := sorted(needs.keys() & repository.paths.keys()):
        raise InvalidArchive(f"the archive holds {both[0]!r}, which its manifest takes from {needs[both[0]].archive!r}")
    return {name: need for name, need in needs.items() if name not in borrowed}


def _missing_files(needs: FileNeeds, repository: Repository) -> FileNeeds:
    """Those that are not there."""
    for model in needs:
        if model not in repository.paths:
            raise InvalidArchive(f"needs.files names the model {model!r}, which the archive does not hold")
    found = {
        model: {path: need for path, need in files.items() if not os.path.lexists(repository.paths[model] / path)}
        for model, files in needs.items()
    }
    return {model: files for model, files in found.items() if files}


def _python_source(model: ModelFolder) -> str:
    """The text of the newest kept version's Python files, "" where there are none."""
    if not model.versions:
        return ""
    files = sorted((model.path / model.versions[-1]).glob("*.py"))
    readable = [file for file in files if file.is_file() and file.stat().st_size <= _MAX_SOURCE_BYTES]
    return "\n".join(file.read_text("utf-8", errors="replace") for file in readable)
