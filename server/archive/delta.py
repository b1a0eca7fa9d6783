"""From a whole archive to a delta archive: without what another archive of the store has.

Equal steps are left out as a whole; of the others, large files that lie in the base too.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from server.archive.digest import file_digest, step_digest
from server.archive.layout import Layout, find_models, read_layout
from server.archive.manifest import Manifest, write_manifest
from server.archive.model_config import is_complete, is_ensemble
from server.archive.model_folder import content
from server.archive.needs import SMALLEST_BYTES, FileNeed, FileNeeds, Need, Needs
from server.domain.errors import InvalidArchive
from server.domain.model import FileSha, StepDigest


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a delta archive needs of its base. `saved_bytes`: what it is smaller by, unpacked."""

    steps: Needs
    files: FileNeeds
    saved_bytes: int


def make_delta(root: Path, base: Path, base_name: str, into: Path) -> LeftOut:
    """Write the archive at `root` to `into`, without what the one at `base` has, which the store calls `base_name`.

    Raises:
        InvalidArchive: one of them cannot be understood, is a delta archive itself, or they have nothing in common.
        OSError: as the file system says.
    """
    layout, lender = read_layout(root), read_layout(base)
    digests, known = _digests(layout), set(_digests(lender).values())
    steps = {name: Need(digest, base_name) for name, digest in digests.items() if digest in known}
    files, saved_bytes = _common_files(layout, lender, base_name, steps)
    if not steps and not files:
        raise InvalidArchive(f"nothing in the archive lies in {base_name!r} too")
    _write(layout, root, into, steps, files)
    for model in layout.models:
        saved_bytes += sum(file.size for file in content(model)) if model.name in steps else 0
    return LeftOut(steps, files, saved_bytes)


def _digests(layout: Layout) -> dict[str, StepDigest]:
    """Of the steps whose digest a server will compute alike: those with a complete config, and complete callees."""
    digests: dict[str, StepDigest] = {}
    known: dict[str, StepDigest] = {}
    for model in layout.models:
        known[model.name] = step_digest(model, known)
        is_whole = is_ensemble(model.config) or is_complete(model.config)
        if is_whole and all(callee in digests for callee in model.calls):
            digests[model.name] = known[model.name]
    digests.pop(layout.entry, None)  # an archive without a model of its own would be the base
    return digests


def _common_files(layout: Layout, lender: Layout, base_name: str, steps: Needs) -> tuple[FileNeeds, int]:
    large = {
        file_digest(file.path): file.size
        for model in lender.models
        for file in content(model)
        if file.size >= SMALLEST_BYTES
    }
    needs: dict[str, dict[str, FileNeed]] = {}
    saved_bytes = 0
    for model in layout.models:
        for file in content(model) if model.name not in steps else ():
            digest = file_digest(file.path) if file.size in large.values() else ""
            if large.get(digest) == file.size:
                needs.setdefault(model.name, {})[file.relative] = FileNeed(FileSha(digest), file.size, base_name)
                saved_bytes += file.size
    return needs, saved_bytes


def _write(layout: Layout, root: Path, into: Path, steps: Needs, files: FileNeeds) -> None:
    paths = find_models(root).paths
    if "" in paths:
        raise InvalidArchive("an archive that leaves something out must have a folder for each of its models")
    into.mkdir(parents=True)
    for name, path in paths.items():
        if name not in steps:
            shutil.copytree(path, into / name)
            for file in files.get(name, ()):
                (into / name / file).unlink()
    manifest = layout.manifest or Manifest()
    write_manifest(replace(manifest, entry_model=layout.entry, needs=steps, file_needs=files), into)
