"""`roundhouse.json` at an archive's root: what no Triton file can say. An archive without it is a plain repository."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from server.archive.needs import (
    NO_FILE_NEEDS,
    NO_NEEDS,
    FileNeeds,
    Needs,
    parse_file_needs,
    parse_needs,
    rendered,
)
from server.domain.errors import InvalidArchive
from server.domain.model import NOTHING, Footprint

MANIFEST_FILE: Final = "roundhouse.json"
FORMAT_VERSION: Final = 1
_MAX_BYTES: Final = 4 << 20

Facts = Mapping[str, Any]
"""A JSON object whose content only people and reports read."""

_NO_FACTS: Final[Facts] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a builder knows about its archive. Every field may be left out.

    `task` picks the codecs of plain payloads. `entry_model` names the model that requests are sent to.
    `steps` is {model name: {"footprint_bytes": {device: bytes}}}: measured while building, predicted when loading.
    `needs` names the steps that the archive leaves out, and who has them, `file_needs` large files of its own steps.
    `provenance`, `parity` and `latency` are for people.
    """

    task: str = ""
    entry_model: str = ""
    description: str = ""
    provenance: Facts = field(default_factory=lambda: _NO_FACTS)
    parity: Facts = field(default_factory=lambda: _NO_FACTS)
    latency: Facts = field(default_factory=lambda: _NO_FACTS)
    steps: Mapping[str, Facts] = field(default_factory=lambda: _NO_FACTS)
    format_version: int = FORMAT_VERSION
    needs: Needs = field(default_factory=lambda: NO_NEEDS)
    file_needs: FileNeeds = field(default_factory=lambda: NO_FILE_NEEDS)

    def footprint(self, step: str) -> Footprint:
        """The predicted footprint of a model of this archive, `NOTHING` where the builder did not measure it."""
        bytes_by_device = self.steps.get(step, {}).get("footprint_bytes")
        return Footprint(MappingProxyType(dict(bytes_by_device))) if bytes_by_device else NOTHING


_FIELDS: Final = ("task", "entry_model", "description", "provenance", "parity", "latency", "steps")


def render_manifest(manifest: Manifest) -> str:
    """The manifest as JSON text; equal manifests give equal text."""
    facts = {name: value for name in _FIELDS if (value := getattr(manifest, name))}
    content = {"format_version": manifest.format_version, **facts}
    if manifest.needs or manifest.file_needs:
        content["needs"] = rendered(manifest.needs, manifest.file_needs)
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=dict) + "\n"


def parse_manifest(text: str) -> Manifest:
    """Read the JSON text. Unknown fields are ignored: a newer builder may have written them.

    Raises:
        InvalidArchive: it is not JSON, is of a newer format, or a field has the wrong type.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArchive(f"{MANIFEST_FILE} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArchive(f"{MANIFEST_FILE} must hold a JSON object")
    version = content.get("format_version", FORMAT_VERSION)
    if not _is_count(version) or not 1 <= version <= FORMAT_VERSION:
        raise InvalidArchive(
            f"{MANIFEST_FILE} has format_version {version!r}; this server reads up to {FORMAT_VERSION}, update it"
        )
    known = {name: content[name] for name in _FIELDS if name in content}
    for name, value in known.items():
        wanted = str if name in {"task", "entry_model", "description"} else dict
        if not isinstance(value, wanted):
            raise InvalidArchive(f"{MANIFEST_FILE}: {name} must be {'text' if wanted is str else 'an object'}")
    _check_steps(known.get("steps", {}))
    needs, file_needs = _needs(content.get("needs", {}))
    return Manifest(**known, format_version=version, needs=needs, file_needs=file_needs)


def _needs(content: object) -> tuple[Needs, FileNeeds]:
    try:
        return parse_needs(content), parse_file_needs(content)
    except InvalidArchive as error:
        raise InvalidArchive(f"{MANIFEST_FILE}: {error}") from error


def _check_steps(steps: dict[str, Any]) -> None:
    for name, facts in steps.items():
        if not isinstance(facts, dict):
            raise InvalidArchive(f"{MANIFEST_FILE}: steps.{name} must be an object")
        footprint = facts.get("footprint_bytes", {})
        if not isinstance(footprint, dict) or not all(_is_count(value) for value in footprint.values()):
            raise InvalidArchive(
                f"{MANIFEST_FILE}: steps.{name}.footprint_bytes must map devices to whole numbers of bytes, "
                'such as {"cpu": 1048576}'
            )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def read_manifest(root: Path) -> Manifest | None:
    """The manifest of the archive at `root`, `None` for a plain Triton repository. Raises InvalidArchive."""
    path = root / MANIFEST_FILE
    if path.is_symlink():
        raise InvalidArchive(f"{MANIFEST_FILE} is a link; put the file itself there")
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidArchive(f"{MANIFEST_FILE} is larger than {_MAX_BYTES} bytes")
        return parse_manifest(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidArchive(f"{MANIFEST_FILE} is not UTF-8 text") from error
    except OSError as error:
        raise InvalidArchive(f"{MANIFEST_FILE} cannot be read: {error.strerror}") from error


def write_manifest(manifest: Manifest, root: Path) -> None:
    """Write `roundhouse.json` into the folder that becomes an archive."""
    (root / MANIFEST_FILE).write_text(render_manifest(manifest), "utf-8")
