"""What an archive leaves out and takes from another one: base + delta.

In the manifest: `"needs": {"steps": {MODEL: {"digest": STEP_DIGEST, "from": ARCHIVE}}}`. MODEL is the name under which
this archive's files call the step, ARCHIVE a name in the store that this archive came from. The digest is what counts:
a step of that digest is taken from wherever it lies, and nothing else will do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from server.domain.errors import InvalidArchive
from server.domain.model import StepDigest

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


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


def parse_needs(content: object) -> Needs:
    """Read the manifest's field `needs`.

    Raises:
        InvalidArchive: it is something else than the module says.
    """
    if not isinstance(content, dict) or set(content) - {"steps"}:
        raise InvalidArchive('needs must be an object with "steps" and nothing else; a newer server may know more')
    steps = content.get("steps", {})
    if not isinstance(steps, dict):
        raise InvalidArchive("needs.steps must be an object")
    return {name: _need(name, facts) for name, facts in steps.items()}


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


def rendered(needs: Needs) -> dict[str, Any]:
    """The field's JSON value; the inverse of `parse_needs`."""
    return {"steps": {name: {"digest": need.digest, "from": need.archive} for name, need in needs.items()}}
