"""Taking over the steps of a finished archive byte for byte, so that equal digests are loaded once in memory.

Or leaving them out: an archive may say by digest which steps of which other archive it needs (base + delta).
"""

from pathlib import Path

import click

from builders.pipeline.folder import linked_copy
from builders.pipeline.progress import stage
from server.archive.digest import step_digest
from server.archive.layout import Layout, read_layout
from server.archive.model_config import is_complete, is_ensemble
from server.archive.needs import Need, Needs
from server.archive.unpack import UnpackLimits, unpack
from server.domain.model import StepDigest

_MAX_BYTES = 64 * 1024**3


class UnusableBase(click.ClickException):
    """The base is not an archive that this family builds on; the text says what is missing."""


def open_base(base: Path, task: str, family: str, work: Path) -> Layout:
    """Read the archive or folder `base`, unpacked below `work`.

    Raises:
        UnusableBase: it does not exist, or its manifest does not say `task`; `family` is named as what builds one.
    """
    if not base.exists():
        raise UnusableBase(f"{base} does not exist; build one with  roundhouse build {family}")
    layout = read_layout(base if base.is_dir() else _unpacked(base, work / base.name))
    if layout.manifest is None or layout.manifest.task != task:
        raise UnusableBase(
            f"{base} is not of the family {family} (its manifest's task is not {task!r}, or it has no manifest)"
        )
    return layout


def take_over(layout: Layout, root: Path, *, without: str = "") -> None:
    """Link (or copy) all models of a base into `root`, except the one named `without`.

    Raises:
        UnusableBase: another base brought a model of the same name already.
    """
    for model in layout.models:
        if model.name == without:
            continue
        if (root / model.name).exists():
            raise UnusableBase(f"two bases have a model {model.name!r}; build one of them under another --name")
        linked_copy(model.path, root / model.name)


def needed(layout: Layout, archive: str, *, without: str = "") -> Needs:
    """What an archive's manifest has to say in order to leave out all models of a base, except the one named `without`.

    `archive` is the base's name in the store where both will lie.

    Raises:
        UnusableBase: a model's config is incomplete, so that its digest is known only when a server has completed it.
    """
    digests: dict[str, StepDigest] = {}
    for model in layout.models:
        if not is_ensemble(model.config) and not is_complete(model.config):
            raise UnusableBase(
                f"the base's model {model.name!r} leaves out inputs, outputs or the backend in its config.pbtxt; "
                "write them down, or build without --base-archive"
            )
        digests[model.name] = step_digest(model, digests)
    return {name: Need(digest, archive) for name, digest in digests.items() if name != without}


def _unpacked(base: Path, to: Path) -> Path:
    to.mkdir(parents=True)
    with stage(f"unpack {base.name}"), base.open("rb") as file:
        unpack(file, to, UnpackLimits(total_bytes=_MAX_BYTES))
    return to
