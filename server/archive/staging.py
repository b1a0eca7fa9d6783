"""From an unpacked archive to a `StagedArchive`: understand, complete, check, digest, place.

Everything here blocks: run it in a thread.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from server.archive import ensemble
from server.archive.digest import FileDigest, file_digest, step_digest
from server.archive.layout import Layout, read_layout
from server.archive.model_config import ModelConfig, backend_of, canonical, is_complete, is_ensemble, signature
from server.archive.model_folder import ModelFolder, content
from server.archive.placing import place, verified_bytes
from server.domain.errors import InvalidArchive
from server.domain.model import ModelSignature, StagedArchive, Step, StepDigest

CompleteConfig: TypeAlias = Callable[[Path, ModelConfig], ModelConfig]
"""Finds out, from the model's folder, what its config leaves out. Raises UnsupportedModel or InvalidArchive."""

FindPlaced: TypeAlias = Callable[[StepDigest], Path | None]
"""Where a step lies placed already, for as long as the staging may take."""


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
) -> StagedArchive:
    """Stage the archive that lies unpacked at `root` under `steps_dir`, one folder per step digest.

    Steps that are there already are kept, and those that lie `placed` elsewhere are used where they lie. `link`: hard
    links instead of copies where possible; then nobody may write into the files at `root` any more. `entry` names the
    entry model where the manifest does not. Safe to run for the same content in several threads and processes at once.

    Raises:
        InvalidArchive: not a model repository, or its models do not fit together.
        UnsupportedModel: from `complete`.
        DiskFull: no room for the steps.
    """
    layout = read_layout(root, entry)
    models = completed(layout, complete)
    if problems := ensemble_problems(models):
        raise InvalidArchive("; ".join(problems))
    steps: dict[str, Step] = {}
    for model in models:
        steps[model.name] = _stage_step(model, layout, steps, steps_dir, link, digest_of, placed)
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


def _stage_step(
    model: ModelFolder,
    layout: Layout,
    staged: Mapping[str, Step],
    steps_dir: Path,
    link: bool,
    digest_of: FileDigest,
    placed: FindPlaced,
) -> Step:
    calls: dict[str, StepDigest] = {callee: staged[callee].digest for callee in model.calls}
    model_signature = _signature(model, staged)
    files = content(model)
    digest = step_digest(model, calls, digest_of)
    directory, file_bytes = _found(placed(digest)) or place(model, files, digest, steps_dir, link)
    step = Step(
        digest=digest,
        name=model.name,
        backend=backend_of(model.config),
        directory=directory,
        signature=model_signature,
        calls=MappingProxyType(calls),
        file_bytes=file_bytes,
    )
    return replace(step, predicted=layout.manifest.footprint(model.name)) if layout.manifest else step


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
