"""What an archive leaves out and takes from another one: base + delta.

In the manifest: `"needs": {"steps": {MODEL: {"digest": STEP_DIGEST, "from": ARCHIVE}}}`. MODEL is the name under which
this archive's files call the step, ARCHIVE a name in the store that this archive came from. The digest is what counts:
a step of that digest is taken from wherever it lies, and nothing else will do.

Where a step is the archive's own but for some large files: `"needs": {"files": {MODEL: {PATH: {"sha256": FILE_SHA,
"size": BYTES, "from": ARCHIVE}}}}`. PATH is relative to the model's folder, as in `1/model.onnx.data`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from server.domain.errors import InvalidArchive
from server.domain.model import FileSha, StepDigest

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NO_CONTENT: Final = frozenset({"config.pbtxt", "roundhouse.json"})
SMALLEST_BYTES: Final = 1 << 20
"""Smaller files are not worth a look-up: graphs, sources, labels."""


@dataclass(frozen=True, slots=True)
class Need:
    """One step that is left out: its digest, and the archive in the same store that has it."""

    digest: StepDigest
    archive: str


Needs: TypeAlias = Mapping[str, Need]
"""By the model's name in the archive that needs it."""

Borrowed: TypeAlias = Mapping[str, Path]
"""Where needed steps lie, by the model's name: folders with a config and version folders, as in an archive."""

NO_NEEDS: Final[Needs] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FileNeed:
    """One large file that is left out: its SHA-256, its bytes, and the archive in the same store that has it."""

    digest: FileSha
    size_bytes: int
    archive: str


FileNeeds: TypeAlias = Mapping[str, Mapping[str, FileNeed]]
"""By model, and by the path below the model's folder."""

LentFiles: TypeAlias = Mapping[str, Mapping[str, Path]]
"""Where needed files lie, in the same order of names."""

NO_FILE_NEEDS: Final[FileNeeds] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Loan:
    """What an archive got of others: whole steps, and single files of its own steps."""

    steps: Borrowed
    files: LentFiles


NOTHING_LENT: Final = Loan(MappingProxyType({}), MappingProxyType({}))


def parse_needs(content: object) -> Needs:
    """Read the manifest's field `needs`.

    Raises:
        InvalidArchive: it is something else than the module says.
    """
    steps = _section(content, "steps")
    return {name: _need(name, facts) for name, facts in steps.items()}


def parse_file_needs(content: object) -> FileNeeds:
    """Read the part of the manifest's field `needs` that is about files.

    Raises:
        InvalidArchive: it is something else than the module says, or a path could leave the model's folder.
    """
    needs: dict[str, dict[str, FileNeed]] = {}
    for model, files in _section(content, "files").items():
        if not isinstance(files, dict) or not _is_plain(model) or "/" in model:
            raise InvalidArchive(f"needs.files.{model} must be an object by path, under the name of a model")
        needs[model] = {path: _file_need(f"needs.files.{model}.{path}", path, facts) for path, facts in files.items()}
    return needs


def _section(content: object, name: str) -> dict[str, Any]:
    if not isinstance(content, dict) or set(content) - {"steps", "files"}:
        raise InvalidArchive(
            'needs must be an object with "steps", "files" and nothing else; a newer server may know more'
        )
    section = content.get(name, {})
    if not isinstance(section, dict):
        raise InvalidArchive(f"needs.{name} must be an object")
    return section


def _file_need(where: str, path: str, facts: Any) -> FileNeed:
    if not _is_plain(path):
        raise InvalidArchive(f"{where}: not a path below the model's folder")
    if not isinstance(facts, dict):
        raise InvalidArchive(f"{where} must be an object")
    digest, size, archive = facts.get("sha256"), facts.get("size"), facts.get("from")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise InvalidArchive(f"{where}.sha256 must be the SHA-256 of the file, as 64 hex digits")
    if not isinstance(size, int) or isinstance(size, bool) or size < SMALLEST_BYTES:
        raise InvalidArchive(f"{where}.size must be its bytes; files of less than {SMALLEST_BYTES} are not left out")
    if not isinstance(archive, str) or not archive:
        raise InvalidArchive(f"{where}.from must name the archive in the store that has the file")
    return FileNeed(FileSha(digest), size, archive)


def _is_plain(path: str) -> bool:
    """Whether it names something below a folder, and nothing that packing leaves out or that is no content."""
    parts = path.split("/")
    is_hidden = any(part in {"", ".", ".."} or part.startswith(".") for part in parts)
    return path.isprintable() and "\\" not in path and not is_hidden and parts[-1] not in _NO_CONTENT


def _need(name: str, facts: Any) -> Need:
    where = f"needs.steps.{name}"
    if not isinstance(facts, dict):
        raise InvalidArchive(f"{where} must be an object")
    digest, archive = facts.get("digest"), facts.get("from")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise InvalidArchive(f"{where}.digest must be a step digest of 64 hex digits, as `roundhouse archive inspect`")
    if not isinstance(archive, str) or not archive:
        raise InvalidArchive(f"{where}.from must name the archive in the store that has the step")
    return Need(StepDigest(digest), archive)


def rendered(needs: Needs, files: FileNeeds = NO_FILE_NEEDS) -> dict[str, Any]:
    """The field's JSON value; the inverse of `parse_needs` and `parse_file_needs`."""
    steps = {name: {"digest": need.digest, "from": need.archive} for name, need in needs.items()}
    if not files:
        return {"steps": steps}
    told = {
        model: {
            path: {"sha256": need.digest, "size": need.size_bytes, "from": need.archive} for path, need in each.items()
        }
        for model, each in files.items()
    }
    return {"files": told, **({"steps": steps} if steps else {})}
