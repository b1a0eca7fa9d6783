"""Everything that is wrong with an archive, at once: what `roundhouse archive lint` prints.

Staging stops at the first problem; a person who repairs an archive wants to see all of them.
"""

from dataclasses import dataclass
from pathlib import Path

from server.archive import ensemble
from server.archive.layout import Layout, find_models, read_layout
from server.archive.manifest import MANIFEST_FILE, read_manifest
from server.archive.model_config import is_complete, is_ensemble, signature
from server.archive.model_folder import content, is_ignored, read_model
from server.domain.errors import InvalidArchive


@dataclass(frozen=True, slots=True)
class Findings:
    """`problems` keep the archive from being served; `notes` are worth knowing."""

    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def lint(root: Path) -> Findings:
    """Look at the archive that lies unpacked at `root`. Raises nothing about its content."""
    try:
        repository = find_models(root)
    except InvalidArchive as error:
        return Findings((str(error),))
    problems = _manifest_problems(root if repository.root == root else repository.root)
    for name, path in repository.paths.items():
        try:
            content(read_model(path, repository.root, name))
        except InvalidArchive as error:
            problems.append(str(error))
    if problems:
        return Findings(tuple(problems))
    try:
        layout = read_layout(root, is_partial=True)
    except InvalidArchive as error:
        return Findings((str(error),))
    ignored = [
        path.name
        for path in sorted(repository.root.iterdir())
        if path.name not in {*repository.paths, MANIFEST_FILE} and "" not in repository.paths
    ]
    return Findings(tuple(_model_problems(layout)), tuple(_notes(layout, ignored)))


def _manifest_problems(root: Path) -> list[str]:
    try:
        read_manifest(root)
    except InvalidArchive as error:
        return [str(error)]
    return []


def _model_problems(layout: Layout) -> list[str]:
    configs = {model.name: model.config for model in layout.models}
    found = []
    for model in layout.models:
        if is_ensemble(model.config):
            found += ensemble.problems(model.config, configs)
        try:
            if is_complete(model.config):
                signature(model.config, model.path)
        except InvalidArchive as error:
            found.append(f"model {model.name!r}: {error}")
    return found


def _notes(layout: Layout, ignored: list[str]) -> list[str]:
    notes = [
        f"model {model.name!r} leaves out inputs, outputs or the backend; the engine finds them out, "
        "which makes the first staging slower"
        for model in layout.models
        if not is_ensemble(model.config) and not is_complete(model.config)
    ]
    notes += [
        f"model {name!r} is never called by the entry model {layout.entry!r}, and is not loaded"
        for name in layout.unused
    ]
    notes += [
        f"model {name!r} is taken from {need.archive!r} (digest {need.digest[:12]}), which cannot be checked here"
        for name, need in sorted(layout.missing.items())
    ]
    notes += [
        f"the file {model}/{path} is taken from {need.archive!r} (SHA-256 {need.digest[:12]}), "
        "which cannot be checked here"
        for model, files in sorted(layout.missing_files.items())
        for path, need in sorted(files.items())
    ]
    if dropped := [name for name in ignored if not is_ignored(name)]:
        notes.append(f"ignored beside the models: {', '.join(dropped)}")
    if hidden := [name for name in ignored if is_ignored(name)]:
        notes.append(f"ignored, hidden: {', '.join(hidden)}")
    if layout.manifest is None:
        notes.append(f"no {MANIFEST_FILE}: served as a plain Triton repository, without task codecs and footprints")
    return notes
