"""From an unpacked archive to a `StagedArchive`: understand, complete, check, digest, place.

Everything here blocks: run it in a thread.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from server.archive import ensemble
from server.archive.digest import FileDigest, file_digest, step_digest
from server.archive.layout import Layout, read_layout
from server.archive.model_config import ModelConfig, backend_of, canonical, is_complete, is_ensemble, signature
from server.archive.model_folder import ModelFolder, content
from server.archive.needs import Borrowed
from server.archive.placing import nothing_equal, place, verified_bytes
from server.archive.weights import FindFile, Weights, no_file
from server.domain.errors import InvalidArchive
from server.domain.model import NOTHING, ModelSignature, StagedArchive, Step, StepDigest

CompleteConfig: TypeAlias = Callable[[Path, ModelConfig], ModelConfig]
"""Finds out, from the model's folder, what its config leaves out. Raises UnsupportedModel or InvalidArchive."""

FindPlaced: TypeAlias = Callable[[StepDigest], Path | None]
"""Where a step lies placed already, for as long as the staging may take."""


DigestStep: TypeAlias = Callable[[ModelFolder, Mapping[str, StepDigest]], StepDigest]
"""The digest of a model, given the digests of those that it calls."""


def nowhere(_digest: StepDigest) -> Path | None:
    """No step lies anywhere yet."""
    return None


def stage_folder(
    root: Path,
    name: str,
    version: str,
    steps_dir: Path,
    complete: CompleteConfig,
    link: bool,
    digest_of: FileDigest = file_digest,
    entry: str = "",
    placed: FindPlaced = nowhere,
    sharing: bool = True,
    borrowed: Borrowed = MappingProxyType({}),
    equal_file: FindFile = no_file,
) -> StagedArchive:
    """Stage the archive that lies unpacked at `root` under `steps_dir`, one folder per step digest.

    Steps that are there already are kept, and those that lie `placed` elsewhere are used where they lie. `link`: hard
    links instead of copies where possible; then nobody may write into the files at `root` any more. `entry` names the
    entry model where the manifest does not. Without `sharing` no step of another archive is ever the same as one of
    this. `borrowed` is where the steps lie that the archive needs of others, `equal_file` finds large files that lie
    placed already. Safe to run for the same content in several threads and processes at once.

    Raises:
        InvalidArchive: not a model repository, or its models do not fit together.
        UnsupportedModel: from `complete`.
        DiskFull: no room for the steps.
    """
    layout = read_layout(root, entry, borrowed)
    models = completed(layout, complete)
    if problems := ensemble_problems(models):
        raise InvalidArchive("; ".join(problems))
    weights = Weights(digest_of, equal_file if sharing else no_file)
    digest = partial(step_digest, digest_of=weights, apart="" if sharing else name)
    staging = _Staging(layout, steps_dir, link, digest, placed, weights, sharing)
    steps: dict[str, Step] = {}
    for model in models:
        steps[model.name] = staging.step(model, steps)
    unique: dict[StepDigest, Step] = {}
    for step in steps.values():  # two names for one content are one step: the earlier one, which callers come after
        unique.setdefault(step.digest, step)
    return StagedArchive(
        name=name,
        version=version,
        entry=steps[layout.entry].digest,
        steps=tuple(unique.values()),
        task=layout.manifest.task if layout.manifest else "",
    )


def completed(layout: Layout, complete: CompleteConfig) -> list[ModelFolder]:
    """The models with complete, canonical configs, callees first.

    Raises:
        InvalidArchive: a config stays incomplete.
        UnsupportedModel: from `complete`.
    """
    return [replace(model, config=_complete(model, complete)) for model in layout.models]


def _complete(model: ModelFolder, complete: CompleteConfig) -> ModelConfig:
    config = canonical(model.config)
    if is_ensemble(config) or is_complete(config):
        return config
    config = canonical(complete(model.path, config))
    config.name = model.name
    if not backend_of(config) or not config.input or not config.output:
        raise InvalidArchive(
            f"model {model.name!r} does not say what it takes and gives, and its file does not tell either; "
            "write input [...] and output [...] into its config.pbtxt"
        )
    return config


def ensemble_problems(models: list[ModelFolder]) -> list[str]:
    """What does not fit between the ensembles and the models they call; [] where all is well."""
    configs = {model.name: model.config for model in models}
    return [
        problem for model in models if is_ensemble(model.config) for problem in ensemble.problems(model.config, configs)
    ]


@dataclass(frozen=True, slots=True)
class _Staging:
    """How the steps of one archive are staged."""

    layout: Layout
    steps_dir: Path
    link: bool
    digest_of: DigestStep
    placed: FindPlaced
    weights: Weights
    sharing: bool

    def step(self, model: ModelFolder, staged: Mapping[str, Step]) -> Step:
        calls: dict[str, StepDigest] = {callee: staged[callee].digest for callee in model.calls}
        model_signature = _signature(model, staged)
        files = content(model)
        digest = self.digest_of(model, calls)
        weights = self.weights.of(files) if self.sharing else ()
        found = _found(self.placed(digest))
        equal = self.weights.equal_file if self.sharing else nothing_equal
        directory, file_bytes = found or place(model, files, digest, self.steps_dir, self.link, equal)
        self.weights.placed(directory, weights)
        return Step(
            digest=digest,
            name=model.name,
            backend=backend_of(model.config),
            directory=directory,
            signature=model_signature,
            calls=MappingProxyType(calls),
            file_bytes=file_bytes,
            predicted=self.layout.manifest.footprint(model.name) if self.layout.manifest else NOTHING,
            weights=weights,
        )


def _found(directory: Path | None) -> tuple[Path, int] | None:
    file_bytes = None if directory is None else verified_bytes(directory)
    return None if directory is None or file_bytes is None else (directory, file_bytes)


def _signature(model: ModelFolder, staged: Mapping[str, Step]) -> ModelSignature:
    try:
        found = signature(model.config, model.path)
    except InvalidArchive as error:
        raise InvalidArchive(f"model {model.name!r}: {error}") from error
    if not is_ensemble(model.config):
        return found
    labels = {name: {output.name: output.labels for output in staged[name].signature.outputs} for name in model.calls}
    outputs = tuple(
        output
        if output.labels
        else replace(output, labels=ensemble.inherited_labels(model.config, output.name, labels))
        for output in found.outputs
    )
    return replace(found, outputs=outputs)
